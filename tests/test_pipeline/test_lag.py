"""How far a reader is behind, on the real brokers: the age of the record at its position, whatever is asked."""

import time
import uuid

import pytest
from kafka import KafkaAdminClient, TopicPartition

from observability import access, lag

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]


def test_lag_is_the_age_of_the_oldest_unread_record(stack):
    topic = f"lag-{uuid.uuid4()}"
    bootstrap = f"127.0.0.1:{stack.env['VIGIE_KAFKA_PORT']}"
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    place = TopicPartition(topic, 0)
    reader = lag.reader(access.Kafka(kafka_bootstrap=bootstrap), 10)

    def behind(*positions):
        readers = {str(n): {place: at} for n, at in enumerate(positions)}
        found = lag.behind(reader, readers, lag.kept(reader, [place], 10), 10)
        return [found[name][place] for name in readers]

    try:
        assert lag.behind(reader, {"nowhere": {}}, lag.kept(reader, [], 10), 10) == {"nowhere": {}}
        assert behind(0) == [lag.Behind(0, None)]
        began = time.time()
        stack.send(topic, [(None, b"x" * 200_000), (None, b"one")])
        time.sleep(1)
        stack.send(topic, [(None, b"two")])
        for _ in range(3):  # the same question again has the same answer
            first, second, last, none, beyond, also_first = behind(0, 1, 2, 3, 9, 0)
            assert [one.records for one in (first, second, last, none, beyond)] == [3, 2, 1, 0, 0]
            assert began - 1 < first.since <= second.since < last.since - 0.5
            assert first.seconds > last.seconds > 0 == none.seconds
            assert also_first == first
        admin.delete_records({place: 2})
        assert behind(0) == [last]  # what is forgotten is not unread
    finally:
        reader.close(timeout_ms=1000)
        admin.delete_topics([topic])
        admin.close()
