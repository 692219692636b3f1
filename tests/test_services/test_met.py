"""What a new outbox learns from topics that hold the end of a run: whom it met, and from which page it goes on."""

from collections import Counter
from datetime import UTC, datetime

import msgspec
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from services import canary
from services.contract import DEAD_LETTERS, ROW, USERS, UserEvent, encode
from services.ingest import next_cursor
from services.met import Met
from services.outbox import Outbox
from services.outbox_file import short
from services.source import MAX_PAGE, Cursor, generation_of

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ID = "1b0e7b9a-5f6e-4c58-9d4e-0f6b6b0a4f11"
OURS = (ROW, b"an earlier outbox:1")


def record(topic, value, *headers, timestamp=0, partition=0):
    """A message as the Kafka client gives it."""
    fields = {"topic": topic, "value": value, "headers": list(headers), "timestamp": timestamp, "partition": partition}
    return ConsumerRecord(**{name: fields.get(name) for name in ConsumerRecord._fields})


def met_of(partitions: int, remembered: int = 1000) -> Met:
    return Met([TopicPartition(USERS, n) for n in range(partitions)], remembered)


def of_page(user: UserEvent, seed: str, page: int) -> bytes:
    return encode(msgspec.structs.replace(user, source=msgspec.structs.replace(user.source, seed=seed, page=page)))


def pages(met: Met, nationalities: str = "") -> list[tuple[str, int]]:
    return [(one.seed, one.page) for one in met.cursors(nationalities)]


def test_who_looks_back_meets_users_and_only_counts_canaries(users):
    met = met_of(1)
    for n, user in enumerate(users[:4]):
        met.add(record(USERS, encode(user), OURS, timestamp=n))
    met.add(record(USERS, encode(canary.event(ID, 900, AT)), OURS, timestamp=99))
    met.add(record(USERS, b"poison", timestamp=100))
    met.add(record(USERS, encode(users[4]), timestamp=101))  # somebody else's
    met.add(record(DEAD_LETTERS, b"{}", OURS))
    met.add(record(DEAD_LETTERS, b"{}"))
    assert list(met.user_ids()) == [short(user.user_id) for user in users[:5]]
    assert met.seed == "tests"
    assert pages(met) == [("tests", 1)]
    assert (met.sent[USERS], met.sent[DEAD_LETTERS]) == (5, 1)


def test_a_partition_that_has_nothing_of_a_run_may_owe_all_of_it_and_strangers_move_no_cursor(users):
    met = met_of(2)
    met.add(record(USERS, of_page(users[0], "tests", 7), OURS))
    met.add(record(USERS, of_page(users[1], "tests", 9000)))
    assert pages(met) == [("tests", 1)]


def test_a_partition_that_came_later_owes_a_run_before_it_nothing(users):
    met = met_of(2)
    met.add(record(USERS, of_page(users[0], "first", 70), OURS, timestamp=10))
    for n in range(2):
        met.add(record(USERS, of_page(users[1], "second", 5 + n), OURS, timestamp=20 + n, partition=n))
    assert pages(met) == [("first", 70), ("second", 5)]


def test_generations_that_the_topic_has_forgotten_are_done(users, tmp_path):
    met = met_of(2)
    met.add(record(USERS, of_page(users[0], generation_of("tests", 3), MAX_PAGE), OURS, timestamp=1))
    met.add(record(USERS, of_page(users[1], generation_of("tests", 4), 12), OURS, timestamp=2, partition=1))
    met.add(record(USERS, of_page(users[2], generation_of("tests", 4), 11), OURS, timestamp=3))
    done = [(generation_of("tests", n), MAX_PAGE + 1) for n in range(4)]
    assert pages(met) == [*done, ("tests.4.", 11)]

    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.meet(met.user_ids(), met.cursors("FR"), met.seed)
    wanted = Wanted(page_size=users[0].source.page_size, nationalities="FR")
    assert next_cursor(outbox, outbox.seed(""), wanted) == Cursor("tests.4.", 11, wanted.page_size, "FR")


class Wanted(msgspec.Struct):
    """What `next_cursor` reads of ingestion's settings."""

    page_size: int
    nationalities: str
    pages: int = 0


def test_a_partition_that_is_behind_by_a_generation_says_where_to_go_on(users):
    met = met_of(2)
    met.add(record(USERS, of_page(users[0], "tests", 9990), OURS, timestamp=1))
    met.add(record(USERS, of_page(users[1], generation_of("tests", 1), 4), OURS, timestamp=2, partition=1))
    assert pages(met) == [("tests", 9990)]


def test_of_a_long_topic_the_latest_of_every_partition_are_remembered(users):
    met = met_of(2, remembered=4)
    for user, n in zip(users, [0] * 6 + [1] * 4, strict=True):
        met.add(record(USERS, encode(user), OURS, partition=n))
    there = list(met.user_ids())
    assert Counter(there) == Counter(short(users[n].user_id) for n in (4, 5, 8, 9))
    assert {short(users[n].user_id) for n in (5, 9)} == set(there[-2:]), "the latest are remembered the longest"
