"""Cassandra's sums are damaged in every way and summed anew from MongoDB: the same numbers, and the lane goes on."""

import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from services.evidence import Stored, User, expected_sums, minute_of
from services.findings import with_forgotten
from spark.contract import ALL_TIME, DATABASE, USERS, Ledger
from spark.rebuild import Kept, Repair
from spark.stats import Tables

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

REBUILD = ("engines", "without", "spark", sys.executable, "-m", "spark.rebuild")
DAMAGE = (
    "DELETE FROM totals WHERE period='all'",
    "INSERT INTO totals (period, dimension, value, users, age_sum) VALUES ('{day}', 'all', 'all', 1, 1)",
    "INSERT INTO totals (period, dimension, value, users, age_sum) VALUES ('1999-12-31', 'all', 'all', 1, 40)",
    "INSERT INTO totals (period, dimension, value, users, age_sum) VALUES ('{day}', 'country', 'Atlantis', 1, 40)",
    "DELETE FROM stats_by_minute WHERE dimension='country' AND day='{day}'",
    "INSERT INTO stats_by_minute (dimension, day, minute, value, users, age_sum)"
    " VALUES ('gender', '{day}', '{day} 00:00', 'neither', 7, 300)",
)


def users_of(stack, ends: dict[int, int]) -> Stored:
    """The stored users whose messages the stats lane has read, and of those forgotten how many a minute had."""
    found = Stored()
    with stack.mongo() as client:
        for one in client[DATABASE][USERS].find():
            if "forgotten_at" in one:
                found.ahead += not one["topic"]
                found.minutes[minute_of(one["appended_at"])] += bool(one["topic"])
            elif one["topic"]["offset"] < ends.get(one["topic"]["partition"], 0):
                facts = one["location"]["country"], one["gender"], one["dob"]["age"], one["nat"]
                found.users[one["_id"]] = User(one["appended_at"], *facts)
    return found


@pytest.mark.long
def test_damaged_sums_are_those_of_the_stored_users_again_and_the_lane_goes_on_from_them(stack):
    assert "stop them first" in stack.run("spark.rebuild").stderr
    stack.stop("spark")
    with stack.cassandra() as session:
        (body,) = session.execute("SELECT body FROM ledger WHERE lane='stats'").one()
        for statement in DAMAGE:
            session.execute(statement.format(day=datetime.now(UTC).date()))
        done = stack.run(*REBUILD, timeout_s=200)
        assert done.returncode == 0, done.stderr
        stored = users_of(stack, msgspec.json.decode(body, type=Ledger).ends)
        tables = Tables(session, 20)
        minutes = [one for day in tables.days() for one in tables.minutes_of(day)]
        there = {(one.minute.replace(tzinfo=UTC), (one.dimension, one.value)): one.sums for one in minutes}
        of_living = expected_sums(stored.users.values(), datetime.max.replace(tzinfo=UTC))
        wanted = with_forgotten(of_living, there, stored)
        assert there == wanted
        assert len(of_living) > 10
        total: Counter = Counter()
        for (_, key), (users, _) in wanted.items():
            total[key] += users
        assert {key: sums.users for key, sums in tables.totals(ALL_TIME).items()} == total
        assert "1999-12-31" not in map(str, tables.days())
        forgotten = {minute.replace(tzinfo=None): n for minute, n in stored.minutes.items()}
        again = Repair(tables, Kept(min(tables.days()), timedelta(days=30)), datetime.now(UTC), forgotten)
        counted = again.all(sorted(minutes, key=lambda one: one.minute))
        assert (counted["written"], counted["removed"], counted["minutes"]) == (0, 0, len(minutes))
    stack.start("spark")
    stack.grown("summed", 100)
    stack.audit()


def test_what_runs_without_a_program_gets_it_back_however_it_ends(stack):
    before = stack.pid("dashboard")
    done = stack.run("engines", "without", "dashboard", sys.executable, "-c", "raise SystemExit(3)")
    assert done.returncode == 3, done.stderr
    assert stack.until(lambda: stack.pid("dashboard")) != before
    assert "no such program" in stack.run("engines", "without", "atlantis", "true").stdout
