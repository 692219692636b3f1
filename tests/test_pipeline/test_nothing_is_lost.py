"""
Every part is broken while users flow; after each, every hop is audited: nothing lost, nothing double, sums equal.

The audit computes the users that must exist from the seed, and compares them as sets with what the stores hold.
"""

import json
import random
import time
from datetime import UTC, date, datetime

import pytest

from services.contract import DEAD_LETTERS, ORIGIN, REASON, STAGE, USERS, Source, decode, encode
from services.records import parse
from services.simulator import people
from spark.contract import BEFORE_RAW_COMMIT, BEFORE_RAW_LEDGER, BEFORE_STATS_COMMIT, BEFORE_TOTALS

pytestmark = [pytest.mark.engines, pytest.mark.timeout(600)]


def test_users_flow_and_every_hop_agrees(stack):
    stack.grown("summed", 200)
    counted = stack.audit()
    assert int(counted["seed"].split()[0].replace(",", "")) > 200


def test_ingest_is_killed_20_times_at_random_moments(stack):
    chance = random.Random(20)
    for _ in range(20):
        before = stack.until(lambda: stack.pid("ingest"))
        time.sleep(chance.uniform(0.3, 3))  # it fetches after about 1.5 s
        stack.kill("ingest")
        stack.until(lambda before=before: stack.pid("ingest") not in (0, before))
    stack.grown("summed", 100)
    assert " 0 copies" in stack.audit()["topic"]


def test_the_driver_is_killed_between_the_writes_of_a_batch(stack):
    stack.dies_at(BEFORE_TOTALS)
    stack.grown("summed", 100)
    stack.audit()


@pytest.mark.long
def test_the_driver_is_killed_at_every_other_point_of_a_batch(stack):
    for point in (BEFORE_RAW_LEDGER, BEFORE_RAW_COMMIT, BEFORE_STATS_COMMIT):
        stack.dies_at(point)
    stack.grown("summed", 100)
    stack.audit()


def test_a_broker_is_killed(stack):
    before = stack.pid("kafka-2")
    stack.kill("kafka-2")
    stack.grown("summed", 200)
    stack.until(lambda: stack.pid("kafka-2") not in (0, before))
    stack.audit()


@pytest.mark.parametrize("store", ["cassandra", "documents"])
def test_a_store_is_down_for_20_s(stack, store):
    """Its lane waits; the other one goes on meanwhile; nothing is restarted."""
    other = "stored" if store == "cassandra" else "summed"
    driver = stack.pid("spark")
    stack.stop(store)
    ends = time.monotonic() + 20
    stack.grown(other, 100)
    time.sleep(max(0.0, ends - time.monotonic()))
    stack.start(store)
    stack.grown("summed" if store == "cassandra" else "stored", 100)
    stack.audit()
    assert stack.pid("spark") == driver


def poison(user: bytes) -> list[tuple[bytes | None, bytes | None]]:
    return [
        (b"k", b"not json"),
        (b"k", None),
        (None, b""),
        (b"k", b"\xff\xfe\x00"),
        (b"k", b"[1, 2"),
        (b"k", b"[" * 5000),
        (b"k", user.replace(b'"v":1', b'"v":2')),
        (b"k", user.replace(b'"gender"', b'"gender_"')),
        (b"k", b'{"login": {"password": "hunter2-planted"}}'),
        (b"k", b"x" * 900_000),
    ]


def test_poison_and_copies_on_the_topic_stop_nothing(stack):
    letters_before, now = stack.messages(DEAD_LETTERS), datetime.now(UTC)
    before = len(letters_before)
    known = {dict(one.headers)[ORIGIN] for one in letters_before if dict(one.headers)[STAGE] == b"raw"}
    users = [
        encode(parse(json.dumps(one).encode(), Source("outside", 1, 20), now, 262_144))
        for one in people.users("outside", 1, 20, (), today=date(2026, 11, 24))
    ]
    copies = [(decode(user).user_id.encode(), user) for user in users] * 5
    stack.send(USERS, [*poison(users[0]), *copies, *poison(users[0])])
    stack.grown("summed", 100)
    counted = stack.audit()
    assert counted["poison"] == f"{20 + len(known)} on the topic"
    letters = [one for one in stack.messages(DEAD_LETTERS)[before:] if dict(one.headers)[STAGE] == b"raw"]
    assert len({dict(one.headers)[ORIGIN] for one in letters}) == 20
    assert all(dict(one.headers)[REASON] for one in letters)
    assert not [one for one in letters if b"hunter2-planted" in (one.value or b"")]


FAULTS = [
    {"status": {"code": 500}},
    {"status": {"code": 429, "retry_after": 1}},
    {"status": {"code": 404}},
    {"html": {"code": 502}},
    {"html": {"code": 200}},
    {"error_body": {}},
    {"empty": {}},
    {"truncated": {}},
    {"cut": {}},
    {"latency": {"seconds": 3}},
    {"trickle": {"bytes_per_second": 2000}},
    {"repeat_page": {"honest": True}},
    {"repeat_page": {"honest": False, "times": 2}},
    {"missing_field": {"path": "dob.age", "every": 10}},
    {"wrong_type": {"path": "location.postcode", "every": 10}},
    {"set_field": {"path": "name.first", "value": "x" * 2_000_000}},
    {"set_field": {"path": "shoe_size", "value": 43}},
    {"invalid_utf8": {"every": 10}},
]


def test_the_source_fails_in_every_way(stack):
    rejected = stack.hops()["rejected"]
    for fault in FAULTS:
        stack.faults(fault)
        time.sleep(1.2)  # three calls at the wanted rate
        stack.faults({})
        time.sleep(0.3)
    stack.grown("summed", 100)
    stack.audit()
    assert stack.hops()["rejected"] > rejected


def test_the_supervisor_counts_what_was_killed(stack):
    report = json.loads(stack.run("engines", "status", "--json").stdout)
    restarts = {one["name"]: one["restarts"] for one in report["processes"]}
    assert restarts["ingest"] >= 3
    assert restarts["spark"] >= 1
    assert restarts["kafka-2"] >= 1
