"""What kafka-python leaves to its caller: a client that could not connect, a partition that it forgets to ask for."""

import gc
import threading
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from services import topics
from services.topics import TopicUnreadable

PLACE = TopicPartition("users.raw", 0)
OPENED = 5


@pytest.mark.parametrize("client", [KafkaAdminClient, KafkaConsumer])
def test_a_client_that_finds_no_broker_leaves_neither_threads_nor_files_behind(client, caplog):
    caplog.set_level("CRITICAL", "kafka")  # a record that is kept would keep its client

    def held() -> tuple[int, int]:
        gc.collect()
        folder = Path("/proc/self/fd")
        return threading.active_count(), len(list(folder.iterdir())) if folder.is_dir() else 0

    before = held()
    for _ in range(OPENED):
        with pytest.raises(KafkaError):
            topics.opened(client, bootstrap_servers="127.0.0.1:1", bootstrap_timeout_ms=50)
    after = held()  # others of this process take and let go a few meanwhile
    assert all(now - then < OPENED for now, then in zip(after, before, strict=True)), (before, after)


class Reader:
    """A consumer that only learns of a partition's leader when it has been asked for a few times."""

    def __init__(self, learns_after: int) -> None:
        self.left = learns_after

    def end_offsets(self, places, timeout_ms):
        self.left -= 1
        return dict.fromkeys(places, 7) if self.left < 0 else {}[places[0]]

    beginning_offsets = end_offsets


@pytest.mark.parametrize("ask", [topics.begins, topics.ends])
def test_a_partition_whose_leader_is_not_known_yet_is_asked_for_again(ask):
    assert ask(Reader(2), {PLACE}) == {PLACE: 7}


def test_one_that_is_never_known_is_unreadable():
    with pytest.raises(TopicUnreadable, match=r"users\.raw"):
        topics.ends(Reader(1000), [PLACE], patience_s=0.1)


@pytest.mark.parametrize(
    ("brokers", "replication", "min_isr", "copies"),
    [(3, 3, 0, (3, 2)), (1, 3, 0, (1, 1)), (2, 3, 0, (2, 1)), (9, 3, 3, (3, 3)), (1, 3, 2, (1, 1)), (9, 5, 3, (5, 3))],
)
def test_there_is_one_copy_a_broker_at_most_and_one_may_be_missing(brokers, replication, min_isr, copies):
    assert (
        topics.copies(
            topics.Settings(
                kafka_bootstrap="",
                partitions=3,
                brokers=brokers,
                replication=replication,
                min_isr=min_isr,
                retention_hours=168,
            )
        )
        == copies
    )
