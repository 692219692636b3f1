"""A dead letter that is a user after all comes back: sent once, stored once, counted once."""

import json
from datetime import UTC, date, datetime

import msgspec
import pytest

from services.contract import DEAD_LETTERS, ORIGIN, REASON, STAGE, USERS, Fetch, Source, encode
from services.records import parse
from services.simulator import people
from spark.contract import DATABASE

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]


def test_letters_of_both_stages_are_replayed_once_and_what_is_still_no_user_stays(stack):
    fetch = Fetch(Source("mended", 1, 3), datetime.now(UTC))
    one, other, third = (
        json.dumps(user).encode() for user in people.users("mended", 1, 3, (), today=date(2026, 11, 24))
    )
    events = [parse(raw, fetch.source, fetch.fetched_at, 262_144) for raw in (one, other, third)]
    of_ingest = {STAGE: b"ingest", REASON: b"mended-1", ORIGIN: msgspec.json.encode(fetch)}
    keyed = events[1].user_id.encode()
    stack.send(USERS, [(keyed, b"the poison that this letter was made of")])
    (at,) = [one for one in stack.messages(USERS) if one.key == keyed]
    of_raw = {STAGE: b"raw", REASON: b"mended-2", ORIGIN: f"{USERS}:{at.partition}:{at.offset}".encode()}
    letters = [(one, of_ingest), (encode(events[1]), of_raw), (third[:-40], of_ingest)]
    stack.send(DEAD_LETTERS, [(None, value) for value, _ in letters], [headers for _, headers in letters])
    assert "3 dead letters" in stack.run("services.dlq", "list", "--reason", "mended-").stdout
    replayed = [stack.run("services.dlq", "replay", "--reason", "mended-").stdout for _ in range(2)]
    assert replayed == [
        "2 sent, 0 there already, 1 still refused, 0 forgotten\n",
        "0 sent, 2 there already, 1 still refused, 0 forgotten\n",
    ]
    expected = sorted(event.user_id for event in events[:2])
    there = [one for one in stack.messages(USERS) if (one.partition, one.offset) != (at.partition, at.offset)]
    sent = sorted(one.key.decode() for one in there if one.key and one.key.decode() in expected)
    assert sent == expected
    stack.audit()
    with stack.mongo() as client:
        stored = [user["_id"] for user in client[DATABASE]["users"].find({"source.seed": "mended"})]
    assert sorted(stored) == expected
