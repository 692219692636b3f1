"""
Every part is broken while users flow; after each, every hop is audited: nothing lost, nothing double, sums equal.

The audit computes the users that must exist from the seed, and compares them as sets with what the stores hold.
"""

import json
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from services import hops
from services.contract import DEAD_LETTERS, ORIGIN, REASON, STAGE, USERS, Source, decode, encode
from services.outbox import outbox_path, read_counts
from services.records import parse
from services.simulator import people
from spark.contract import DATABASE

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]


def test_users_flow_and_every_hop_agrees(stack):
    stack.grown("summed", 200)
    counted = stack.audit()
    assert int(counted["seed"].split()[0].replace(",", "")) > 200


def test_ingest_is_killed_while_it_fetches(stack):
    for _ in range(3):
        before = stack.pid("ingest")
        stack.kill("ingest")
        stack.until(lambda before=before: stack.pid("ingest") not in (0, before))
        stack.grown("fetched", 100)
    assert " 0 copies" in stack.audit()["topic"]


def test_the_driver_is_killed_inside_a_batch_of_each_lane(stack):
    """The stores are frozen, so that a batch is surely under way at both sinks when the driver dies."""
    for store in ("cassandra", "documents"):
        stack.signal(store, signal.SIGSTOP)
    try:
        time.sleep(4)  # longer than a batch takes: each lane is now inside its sink
        before = stack.pid("spark")
        stack.kill("spark")
    finally:
        for store in ("cassandra", "documents"):
            stack.signal(store, signal.SIGCONT)
    stack.until(lambda: stack.pid("spark") not in (0, before))
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
    before, now = len(stack.messages(DEAD_LETTERS)), datetime.now(UTC)
    users = [
        encode(parse(json.dumps(one).encode(), Source("outside", 1, 20), now, 262_144))
        for one in people.users("outside", 1, 20, (), today=date(2026, 11, 24))
    ]
    copies = [(decode(user).user_id.encode(), user) for user in users] * 5
    stack.send(USERS, [*poison(users[0]), *copies, *poison(users[0])])
    stack.grown("summed", 100)
    counted = stack.audit()
    assert counted["poison"] == "20 on the topic"
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


def test_an_ingestion_killed_20_times_has_sent_every_user_of_its_seed_once(stack, tmp_path: Path):
    """Its own seed, outbox and 40 pages; the expected users come from the seed alone."""
    chance = random.Random(20)
    env = stack.env | {
        "VIGIE_STATE": str(tmp_path),
        "VIGIE_SEED": "killed",
        "VIGIE_INGEST_METRICS_PORT": "0",
        "VIGIE_CANARY_S": "0",
        "VIGIE_PAGES": "40",
        "VIGIE_RATE": "80",
        "VIGIE_KAFKA_BOOTSTRAP": "127.0.0.1:28092,127.0.0.1:28093,127.0.0.1:28094",
    }
    command = [sys.executable, "-m", "services.ingest"]
    with (tmp_path / "log").open("ab") as log:
        for _ in range(20):
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
            time.sleep(chance.uniform(0.3, 2.5))
            process.kill()
            process.wait(10)
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    expected = {i for page in range(1, 41) for i in people.ids("killed", page, 20)}
    with hops.read_only(outbox_path(tmp_path)) as db:
        stack.until(lambda: read_counts(db).acknowledged >= len(expected))
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    sent = [(one.key or b"").decode() for one in stack.messages(USERS)]
    assert sorted(key for key in sent if key in expected) == sorted(expected)
    stack.audit()
    with stack.mongo() as client:
        stored = client[DATABASE]["users"].find({"source.seed": "killed"}, {"_id": 1})
        assert {one["_id"] for one in stored} == expected


def test_the_supervisor_counts_what_was_killed(stack):
    report = json.loads(stack.run("engines", "status", "--json").stdout)
    restarts = {one["name"]: one["restarts"] for one in report["processes"]}
    assert restarts["ingest"] >= 3
    assert restarts["spark"] >= 1
    assert restarts["kafka-2"] >= 1
