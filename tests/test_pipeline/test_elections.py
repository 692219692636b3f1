"""A partition that another broker leads since an election, with nobody gone: whoever asks for its offsets goes on."""

import pytest
from kafka import KafkaAdminClient, TopicPartition

from observability import lag
from observability.access import Kafka
from services import topics

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

TOPIC = "elections"
PLACE = TopicPartition(TOPIC, 0)
PREFERRED = 0
PATIENCE_S = 10.0


@pytest.fixture
def led(stack):
    """The brokers, and a topic of one partition that broker 1 leads, gone at the end."""
    local = Kafka(kafka_bootstrap=f"127.0.0.1:{stack.env['VIGIE_KAFKA_PORT']}")
    admin = KafkaAdminClient(**local.kafka(), request_timeout_ms=10_000)
    try:
        admin.create_topics({TOPIC: {"assignments": {0: [1, 2, 3]}}}, wait_for_metadata=True)
        yield local, admin
        admin.delete_topics([TOPIC])
    finally:
        admin.close()


def leader(admin):
    (described,) = admin.describe_topics([TOPIC])
    return described["partitions"][0]["leader_id"]


def test_offsets_are_told_after_an_election(stack, led):
    local, admin = led
    readers = topics.consumer(local), lag.reader(local, PATIENCE_S)
    try:
        assert leader(admin) == 1
        assert [topics.ends(reader, [PLACE]) for reader in readers] == [{PLACE: 0}] * 2
        admin.alter_partition_reassignments({PLACE: [2, 1, 3]})
        stack.until(lambda: not admin.list_partition_reassignments(), 30)
        stack.until(lambda: admin.elect_leaders(PREFERRED, {TOPIC: [0]}, raise_errors=False) and leader(admin) == 2, 30)
        assert [topics.ends(reader, [PLACE], PATIENCE_S) for reader in readers] == [{PLACE: 0}] * 2
        there = lag.kept(readers[1], [PLACE], PATIENCE_S)
        assert lag.behind(readers[1], {"one": {PLACE: 0}}, there, PATIENCE_S) == {"one": {PLACE: lag.Behind(0, None)}}
    finally:
        for reader in readers:
            reader.close()
