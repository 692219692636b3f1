"""One person is forgotten while users flow: nothing brings them back, and every hop still agrees."""

import json
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from services.contract import DEAD_LETTERS, ORIGIN, REASON, STAGE, USERS, Fetch, Source, UserEvent, encode
from services.records import parse
from services.simulator import people
from spark.contract import DATABASE, FORGOTTEN, NEWEST_USERS
from spark.contract import USERS as COLLECTION

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

KEPT = {"_id", "forgotten_at", "appended_at", "topic"}


def document(stack, user_id: str) -> dict[str, Any] | None:
    with stack.mongo() as client:
        return client[DATABASE][COLLECTION].find_one({"_id": user_id})


def forgotten(stack) -> str:
    """What the audit is to say of all who were forgotten so far."""
    with stack.mongo() as client:
        return f"{len(list(client[DATABASE][FORGOTTEN].find()))} users forgotten"


def forget(stack, user_id: str) -> str:
    done = stack.run("services.forget", user_id)
    assert done.returncode == 0, done.stderr
    return done.stdout


def outsiders(seed: str, n: int) -> list[UserEvent]:
    """Users that ingestion never met."""
    page = people.users(seed, 1, n, (), today=date(2026, 11, 24))
    return [parse(json.dumps(user).encode(), Source(seed, 1, n), datetime.now(UTC), 262_144) for user in page]


def test_a_stored_user_is_forgotten_twice_shown_no_more_and_kept_out(stack):
    stack.grown("stored", 40)
    with stack.mongo() as client:
        shown = next(one for one in client[DATABASE][NEWEST_USERS].find() if one["users"])["users"][-1]
    person = document(stack, shown["user_id"])
    assert "the document is removed" in forget(stack, person["_id"])
    kept = document(stack, person["_id"])
    assert kept == {key: person[key] for key in KEPT & set(person)} | {"forgotten_at": kept["forgotten_at"]}
    assert "was forgotten before" in forget(stack, person["_id"])
    (message,) = [one for one in stack.messages(USERS) if one.key == person["_id"].encode()]
    stack.send(USERS, [(message.key, message.value)] * 2)
    stack.grown("stored", 40)
    counted = stack.audit()
    assert counted["forgotten"].startswith(forgotten(stack))
    assert document(stack, person["_id"]) == kept
    with stack.mongo() as client:
        assert not client[DATABASE][NEWEST_USERS].count_documents({"users.user_id": person["_id"]})
        (register,) = client[DATABASE][FORGOTTEN].find({"_id": person["_id"]})
    assert (register["at"], register["ahead"]) == (kept["forgotten_at"], False)
    assert " on " in register["by"]
    way = stack.run("services.journey", person["_id"]).stdout
    assert "forgotten" in way
    assert person["email"] not in way


def test_who_is_forgotten_on_the_way_is_never_stored_though_summed_and_no_letter_brings_anyone_back(stack):
    one, other = outsiders("forgotten ahead", 2)
    assert "had no document, and will have none" in forget(stack, one.user_id)
    forget(stack, other.user_id)
    fetch = Fetch(one.source, one.fetched_at)
    record = next(iter(people.users("forgotten ahead", 1, 2, (), today=date(2026, 11, 24))))
    stack.send(USERS, [(one.user_id.encode(), encode(one))])
    headers = {STAGE: b"ingest", REASON: b"ahead-1", ORIGIN: msgspec.json.encode(fetch)}
    stack.send(DEAD_LETTERS, [(None, json.dumps(record).encode())], [headers])
    replayed = stack.run("services.dlq", "replay", "--reason", "ahead-").stdout
    assert replayed == "0 sent, 0 there already, 0 still refused, 1 forgotten\n"
    stack.grown("stored", 40)
    counted = stack.audit()
    assert counted["forgotten"].startswith(forgotten(stack))
    kept = [document(stack, event.user_id) for event in (one, other)]
    assert [(set(found), found["topic"]) for found in kept] == [(KEPT, None)] * 2


def test_one_who_is_played_in_again_is_named_and_forgotten_again(stack):
    """As from a backup of MongoDB that was made before the erasure."""
    stack.grown("stored", 1)
    with stack.mongo() as client:
        users = client[DATABASE][COLLECTION]
        person = users.find_one({"forgotten_at": {"$exists": False}})
        forget(stack, person["_id"])
        users.replace_one({"_id": person["_id"]}, person)
        (back,) = [one["differs"] for one in stack.findings() if one["hop"] == "forgotten"]
    assert person["_id"] in back
    forget(stack, person["_id"])
    assert set(document(stack, person["_id"])) == KEPT
    stack.audit()
