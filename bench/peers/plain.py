"""A plain consumer of kafka-python: poll, write the batch in bulk, commit."""

import json

from kafka import KafkaConsumer

from bench.peers import job
from services.contract import USERS

MESSAGE_BYTES = 1200


def main() -> None:
    to = job.Job("bench_plain")
    reader = KafkaConsumer(
        USERS,
        bootstrap_servers=job.brokers(),
        group_id="bench-plain",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=3 * job.AT_ONCE,
        max_partition_fetch_bytes=2 * job.AT_ONCE * MESSAGE_BYTES,  # else a poll brings a thousand
        session_timeout_ms=job.HELD_MS,
        max_poll_interval_ms=job.HELD_MS,
        request_timeout_ms=job.HELD_MS + 1000,
        connections_max_idle_ms=job.HELD_MS + 2000,
        value_deserializer=json.loads,
    )
    while True:
        found = reader.poll(timeout_ms=500)
        documents = [
            job.document(one.value, one.partition, one.offset, one.timestamp)
            for batch in found.values()
            for one in batch
        ]
        if documents:
            to.take(documents)
            reader.commit()


if __name__ == "__main__":
    main()
