"""What the audit compares, as values: canaries are counted apart, and sums by what is alike are the sums of each."""

import json
import sqlite3
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaConnectionError
from msgspec import structs

from services import audit, evidence, hops, topics
from services.audit import NotFollowed, wait_for
from services.contract import DEAD_LETTERS, ROW, USERS, encode
from services.evidence import Fetched, OnTopic, User, expected_sums, read_topics
from services.findings import Finding, of_ingestion, of_store, of_topic
from services.outbox_file import Counts

AT = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
PLACE = TopicPartition(USERS, 0)

COUNTS = Counts(
    fetched=2,
    duplicates=0,
    rejected=0,
    acknowledged=2,
    acknowledged_dead=0,
    waiting=0,
    waiting_dead=0,
    canaries=2,
    acknowledged_canaries=1,
    waiting_canaries=1,
)


def start(counts: Counts = COUNTS) -> Fetched:
    return Fetched("one", counts, last_row=4, seed="tests", pages={})


class Record:
    """A message as kafka-python gives it."""

    def __init__(self, offset, value, headers=(), topic=USERS):
        self.topic, self.partition, self.offset = topic, 0, offset
        self.key, self.value, self.headers = b"key", value, list(headers)


@pytest.fixture
def on_topic(monkeypatch):
    """What is read of these records."""

    def read(*records: Record) -> OnTopic:
        monkeypatch.setattr(topics, "begins", lambda _, places: dict.fromkeys(places, 0))
        monkeypatch.setattr(topics, "records", lambda *_: iter(records))
        return read_topics(None, {PLACE: len(records)}, "one")

    return read


@pytest.fixture
def events(users):
    """Two users and two canaries, as the topic has them."""
    return [*users[:2], *(structs.replace(user, canary=True) for user in users[2:4])]


def test_canaries_are_no_users_and_their_rows_are_ingestions(on_topic, events):
    rows = [(ROW, f"one:{n}".encode()) for n in range(1, 5)]
    found = on_topic(*(Record(n, encode(one), [rows[n]]) for n, one in enumerate(events)))
    assert (set(found.ids), found.canaries) == ({one.user_id for one in events[:2]}, 2)
    assert (found.rows, found.poison) == ({1, 2, 3, 4}, set())
    findings = list(of_topic(start(), found))
    assert [one.differs for one in findings] == ["", ""]
    assert findings[0].counted == "2 sent, 2 users on the topic, 0 copies, 2 canaries of 2"
    users = {one.user_id: User(AT, "France", "male", 40, "FR") for one in events[:2]}
    assert of_store(found, users).differs == ""


def test_a_canarys_row_that_is_missing_differs(on_topic, events):
    rows = [(ROW, f"one:{n}".encode()) for n in range(1, 4)]
    found = on_topic(*(Record(n, encode(one), [rows[n]]) for n, one in enumerate(events[:3])))
    assert [one.differs for one in of_topic(start(), found)] == ["4 rows were acknowledged, 3 are on the topic", ""]


def test_a_dead_letter_is_no_canary(on_topic):
    found = on_topic(Record(0, b"{}", topic=DEAD_LETTERS))
    assert (found.canaries, found.ids, found.dead_ids) == (0, Counter(), {"key"})


def test_canaries_that_are_neither_acknowledged_nor_wait_differ():
    assert of_ingestion(start()).differs == ""
    lost = of_ingestion(start(replace(COUNTS, waiting_canaries=0)))
    assert lost.differs == "2 canaries but 1 are acknowledged or wait"


def test_the_running_minute_is_compared_though_a_canary_came(monkeypatch, events):
    ends = {PLACE: 10, TopicPartition(DEAD_LETTERS, 0): 3}

    def quiet(*after: bytes) -> bool:
        monkeypatch.setattr(audit, "topic_ends", lambda _: ends | {PLACE: 10 + len(after)})
        monkeypatch.setattr(topics, "records", lambda *_: (Record(n, value) for n, value in enumerate(after)))
        return audit.is_quiet(None, ends)

    assert quiet()
    assert quiet(encode(events[2]), encode(events[3]))
    assert not quiet(encode(events[2]), encode(events[0]))
    assert not quiet(b"poison")


def test_sums_of_those_who_are_alike_are_the_sums_of_each():
    def someone(seconds: float, country: str, gender: str, age: int) -> User:
        return User(AT + timedelta(seconds=seconds), country, gender, age, country[:2].upper())

    users = [
        someone(0, "France", "male", 40),
        someone(1, "France", "male", 40),
        someone(2, "Spain", "female", 41),
        someone(40, "Spain", "female", 41),
        someone(90, "Spain", "female", 41),
    ]
    found = expected_sums(users, before=AT + timedelta(minutes=1))
    first, second = AT.replace(second=0), AT.replace(second=0) + timedelta(minutes=1)
    assert found[first, ("all", "all")] == (3, 121)
    assert found[first, ("country", "France")] == (2, 80)
    assert found[first, ("age", "40")] == (3, 121)
    assert found[second, ("gender", "female")] == (1, 41)
    assert found[first, ("country|gender|age|nationality", "France|male|40|FR")] == (2, 80)
    assert {minute for minute, _ in found} == {first, second}


def test_a_wait_that_is_given_up_ends_at_once():
    given_up = threading.Event()
    given_up.set()
    began = time.monotonic()
    with pytest.raises(NotFollowed, match="lanes: 3 behind"):
        wait_for("lanes", lambda: "3 behind", 60, given_up)
    assert time.monotonic() - began < 5


def test_a_value_that_is_no_event_is_no_canary():
    assert not evidence.is_canary(b"poison")
    assert not evidence.is_canary(None)


@pytest.fixture
def ended(monkeypatch, capsys):
    """What `main` says and ends with when the audit has found these, and then goes on or not."""

    def run(*findings: Finding, then: Exception | None = None, silent: tuple[str, ...] = ()):
        def audited(*_):
            yield from findings
            if then:
                raise then

        monkeypatch.setattr(audit, "audit", audited)
        monkeypatch.setattr(audit.logs, "start", lambda *_, **__: None)  # the other tests' loggers stay as they are
        monkeypatch.setattr(hops, "hush", lambda: None)
        monkeypatch.setattr(hops, "ask", lambda _: (hops.Hops(), dict.fromkeys(silent, "gone")))
        code = audit.main(["--json"])
        said = capsys.readouterr()
        return code, [one["hop"] for one in json.loads(said.out) if one["differs"]], said.err

    return run


AGREES, DIFFERS = Finding("topic", "1 sent"), Finding("raw lane", "1 stored", "1 not stored")


@pytest.mark.parametrize(
    ("error", "hop"),
    [
        (KafkaConnectionError(), "kafka"),
        (topics.TopicUnreadable("users.raw: no such topic"), "kafka"),
        (sqlite3.OperationalError("unable to open database file"), "outbox"),
    ],
)
def test_a_hop_that_does_not_answer_is_no_difference(ended, error, hop):
    code, differing, said = ended(AGREES, then=error)
    assert (code, differing) == (2, [])
    assert f"cannot compare: {hop} does not answer (make status)" in said


def test_a_hop_that_holds_on_to_users_differs_unless_what_it_waits_for_is_gone(ended):
    held = NotFollowed("outbox: 3 rows wait")
    assert ended(AGREES, then=held)[:2] == (1, ["audit"])
    code, differing, said = ended(AGREES, then=held, silent=("kafka", "mongodb"))
    assert (code, differing) == (2, [])
    assert "cannot compare: kafka, mongodb does not answer" in said


def test_a_difference_is_told_though_a_later_hop_does_not_answer(ended):
    assert ended(DIFFERS, then=KafkaConnectionError())[:2] == (1, ["raw lane"])
    assert ended(AGREES)[:2] == (0, [])
