"""The lanes' ledgers count every message once, by what it was; whoever sends whatever with whatever headers."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from observability.tracing import JOURNEY, TRACEPARENT, TRACESTATE
from services.contract import USERS, Source, encode
from services.records import parse
from services.simulator import people
from spark import documents
from spark.contract import (
    BEFORE_RAW_LEDGER,
    BEFORE_STATS_LEDGER,
    DATABASE,
    LEDGER,
    NEWEST_ID,
    OUT_OF_MEMORY,
    RAW,
    STATS,
    Counted,
    Ledger,
)
from spark.contract import USERS as COLLECTION
from spark.seen import Canary

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

OF_FORGOTTEN = {"_id", "forgotten_at", "appended_at", "topic"}
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def events(seed: str, at: datetime) -> list:
    page = people.users(seed, 1, 20, (), today=date(2026, 11, 24))
    return [parse(json.dumps(user).encode(), Source(seed, 1, 20), at, 262_144) for user in page]


def ledgers(stack) -> dict[str, Ledger]:
    """Both lanes' ledgers, as the stores hold them."""
    with stack.mongo() as client, stack.cassandra() as session:
        bodies = {RAW: client[DATABASE][LEDGER].find_one({"_id": RAW})["body"]}
        bodies |= {row.lane: row.body for row in session.execute("SELECT lane, body FROM ledger")}
    return {lane: msgspec.json.decode(body, type=Ledger) for lane, body in bodies.items()}


def counts(stack, lane: str) -> dict[str, Any]:
    return msgspec.structs.asdict(ledgers(stack)[lane].totals)


HOSTILE = [
    {TRACEPARENT: b"", TRACESTATE: b""},
    {TRACEPARENT: b"\xff" * 55, TRACESTATE: JOURNEY.encode()},
    {TRACEPARENT: b"x" * 500_000, TRACESTATE: b"y" * 400_000},
    {TRACEPARENT: PARENT, TRACESTATE: JOURNEY.encode()},
    {f"h{n}": b"x" * 100 for n in range(2000)},
]


def test_copies_poison_and_hostile_headers_are_counted_as_what_they_are(stack):
    before = {lane: counts(stack, lane) for lane in (RAW, STATS)}
    people_of_it = [(None, encode(event)) for event in events("counted", datetime.now(UTC))]
    stack.send(USERS, people_of_it * 3 + [(None, b"no json")] * 5, HOSTILE * 13)

    def more(lane: str, name: str) -> int:
        return counts(stack, lane)[name] - before[lane][name]

    for lane in (RAW, STATS):
        stack.until(lambda lane=lane: more(lane, "poison") >= 5)
        assert more(lane, "poison") == 5
    stack.until(lambda: more(RAW, "duplicates") >= 40)
    assert more(RAW, "duplicates") == 40
    with stack.mongo() as client:
        ids = [event.user_id for event in events("counted", datetime.now(UTC))]
        traces = {user["trace_id"] for user in client[DATABASE][COLLECTION].find({"_id": {"$in": ids}})}
    assert traces <= {"", PARENT.decode().split("-")[1]}


def agree(stack) -> bool:
    """Whether the raw lane's ledger has as many users as the store; what must hold at any time is asserted."""
    found = ledgers(stack)
    for one in found.values():
        assert one.totals.read == sum(one.ends.values()) - sum(one.starts.values())
    raw = found[RAW].totals
    assert raw.read == raw.users + raw.duplicates + raw.poison + raw.canaries
    return raw.users == stack.hops()["stored"]


def test_every_message_from_start_to_end_is_in_the_ledger_and_every_user_in_the_store(stack):
    stack.until(lambda: agree(stack), limit_s=150)


def test_a_driver_that_was_out_of_memory_counts_nothing_twice(stack):
    stack.dies_at(BEFORE_STATS_LEDGER, OUT_OF_MEMORY)
    assert "OutOfMemoryError" in stack.log("spark")
    stack.grown("stored", 40)
    stack.until(lambda: agree(stack), limit_s=150)


def test_a_lane_that_reads_the_topic_again_counts_its_users_again(stack):
    """
    Every user is there already, each from this very message; the copies of before are copies again.

    So it is of those whom a batch had stored that was killed before its ledger. Who was forgotten stays so.
    """
    stack.until(lambda: stack.hops()["on_topic"] > 2500, limit_s=120)
    with stack.mongo() as client:
        person = client[DATABASE][COLLECTION].find_one({"forgotten_at": {"$exists": False}})
    assert stack.run("services.forget", person["_id"]).returncode == 0
    stack.dies_at(BEFORE_RAW_LEDGER)
    stack.stop("spark")  # before the next driver writes that batch again
    before = ledgers(stack)[RAW]
    assert stack.run("spark.lanes", "--set-checkpoint-aside", RAW).returncode == 0
    stack.start("spark")
    stack.until(lambda: sum(ledgers(stack)[RAW].ends.values()) >= sum(before.ends.values()), limit_s=150)
    stack.until(lambda: agree(stack), limit_s=150)
    assert counts(stack, RAW)["duplicates"] >= before.totals.duplicates
    with stack.mongo() as client:
        assert set(client[DATABASE][COLLECTION].find_one({"_id": person["_id"]})) == OF_FORGOTTEN


def test_a_message_that_was_written_before_is_told_from_a_copy(stack):
    at = datetime(1999, 6, 1, tzinfo=UTC)
    users = [documents.document(event, 0, n, at + timedelta(seconds=n)) for n, event in enumerate(events("places", at))]
    copy = {**users[3], "topic": {"partition": 1, "offset": 3}}
    with stack.mongo() as client:
        database = client[DATABASE]
        try:
            documents.insert(database, users)
            assert documents.mistaken(database, [users[3], copy, users[5]]) == Counted(users=2, duplicates=-2)
        finally:
            database[COLLECTION].delete_many({"_id": {"$in": [user["_id"] for user in users]}})


def test_the_newest_canary_only_goes_forward(stack):
    times = [datetime(2026, 1, day, tzinfo=UTC) for day in (2, 1, 3)]
    with stack.mongo() as client:
        beside = client["beside"]
        for n, at in enumerate(times):
            documents.keep_canary(beside, Canary(f"canary-{n}", at, at, ""))
        documents.keep_canary(beside, None)
        (kept,) = list(beside["canaries"].find())
        client.drop_database("beside")
    assert (kept["_id"], kept["user_id"], kept["fetched_at"]) == (NEWEST_ID, "canary-2", times[2])


def test_a_ledger_is_read_back_as_it_was_written(stack):
    one = Ledger(3, {0: 1}, {0: 9}, Counted(read=1), Counted(read=8), {0: 2}, {0: 9})
    with stack.mongo() as client:
        beside = client["beside"]
        assert documents.read_ledger(beside) is None
        for _ in range(2):
            documents.keep_ledger(beside, one)
        assert documents.read_ledger(beside) == one
        client.drop_database("beside")
