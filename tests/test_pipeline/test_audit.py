"""The audit finds what it is there to find: one user lost, invented or counted wrong, and it names the hop."""

import sqlite3
from datetime import UTC, datetime

import pytest

from services.outbox_file import outbox_path
from spark.contract import DATABASE, USERS

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]


def differing(stack) -> dict[str, str]:
    return {one["hop"]: one["differs"] for one in stack.findings(patience_s=12) if one["differs"]}


def test_a_user_lost_in_the_store_is_named(stack):
    stack.grown("stored", 1)
    with stack.mongo() as client:
        users = client[DATABASE][USERS]
        lost = users.find_one()
        users.delete_one({"_id": lost["_id"]})
        found = differing(stack)
        users.insert_one(lost)
    assert next(iter(found)) == "raw lane"
    assert f"1 on the topic, not stored: {lost['_id']}" in found["raw lane"]
    assert lost["_id"] in found["seed"]


def test_whom_nobody_sent_and_a_sum_that_is_too_high_are_named(stack):
    stack.grown("summed", 1)  # the lane's first batch reads the day's minutes, and would take the planted one for true
    stranger = "00000000-0000-4000-8000-000000000000"
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    place = ("country", midnight.date(), midnight, "Atlantis")
    with stack.mongo() as client, stack.cassandra() as session:
        session.execute(
            "INSERT INTO stats_by_minute (dimension, day, minute, value, users, age_sum) VALUES (%s,%s,%s,%s,1,40)",
            place,
        )
        users = client[DATABASE][USERS]
        users.insert_one(users.find_one() | {"_id": stranger})
        found = differing(stack)
        users.delete_one({"_id": stranger})
        session.execute("DELETE FROM stats_by_minute WHERE dimension=%s AND day=%s AND minute=%s AND value=%s", place)
    assert stranger in found["phantoms"]
    assert "country Atlantis: (0, 0) / (1, 40)" in found["stats lane"]


def test_an_acknowledgement_without_a_message_is_named(stack):
    def add(n: int) -> None:
        with sqlite3.connect(outbox_path(stack.state.root), timeout=10) as db:
            db.execute("UPDATE counts SET n=n+? WHERE name='acknowledged'", (n,))

    add(1)
    found = differing(stack)
    add(-1)
    assert list(found) == ["ingestion", "topic"]
    sent, there = (int(word.replace(",", "")) for word in found["topic"].split() if word[0].isdigit())
    assert sent - there == 1
