"""The two lanes from Kafka to the stores, and the stores' contract."""
