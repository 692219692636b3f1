"""What is summed anew: all ids once, no day that MongoDB has forgotten, and nothing that the store lacks."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark.contract import Counted, Ledger
from spark.rebuild import CannotRebuild, Kept, Repair, parts, summed_up_to
from spark.totals import Minute, Sums

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOON = NOW.replace(tzinfo=None)  # Cassandra's times are UTC without saying so
ALL = ("all", "all")


@given(st.uuids(), st.integers(1, 256))
def test_every_id_is_in_one_part(user, n):
    assert len(parts(n)) == n
    assert sum(low <= str(user) and (not high or str(user) < high) for low, high in parts(n)) == 1


def ledger(**ends: int) -> Ledger:
    return Ledger(1, {}, {int(n[1:]): end for n, end in ends.items()}, Counted(), Counted(), {})


def test_users_count_up_to_where_the_lane_has_read():
    assert summed_up_to(ledger(p0=9, p1=5), ledger(p0=7)) == {0: 7}
    assert summed_up_to(ledger(p0=9), None) is None


@pytest.mark.parametrize("raw", [None, ledger(p0=6, p1=9), ledger(p1=9)])
def test_a_store_that_has_less_than_was_summed_changes_nothing(raw):
    with pytest.raises(CannotRebuild):
        summed_up_to(raw, ledger(p0=7))


class Tables:
    """Cassandra's rows of ours in two dicts; a prepared statement is its text."""

    def __init__(self, days: dict[date, dict[tuple[str, str], Sums]], minutes: list[Minute]) -> None:
        self._days, self._minutes = days, minutes
        self.session, self.put_total = self, "put total"
        self.written: list[tuple[str, Any]] = []

    def prepare(self, text: str) -> str:
        return " ".join(text.split()[:3])

    def days(self) -> dict[date, dict[tuple[str, str], Sums]]:
        return self._days

    def totals(self, _: str) -> dict[tuple[str, str], Sums]:
        return {}

    def minutes_of(self, day: date) -> list[Minute]:
        return [one for one in self._minutes if one.minute.date() == day]

    def put(self, writes: list[tuple[str, Any]]) -> None:
        self.written += writes


def test_days_that_mongodb_has_forgotten_keep_their_totals_and_are_in_those_of_all_time():
    forgotten, held = date(2026, 9, 1), date(2026, 11, 24)
    tables = Tables({forgotten: {ALL: Sums(5, 100)}, held: {ALL: Sums(1, 1)}}, [])
    of_today = [Minute("all", NOON, "all", Sums(2, 60))]
    left = [Minute("all", NOON - timedelta(days=84), "all", Sums(1, 20))]
    Repair(tables, Kept(date(2026, 11, 1), timedelta(days=30)), NOW).all([*left, *of_today])
    totals = [values for what, values in tables.written if what == "put total"]
    assert totals == [("2026-11-24", *ALL, 2, 60), ("all", *ALL, 7, 160)]


def test_who_was_forgotten_stays_in_the_sums_and_no_more_than_those():
    earlier = NOON - timedelta(minutes=1)
    of_mongo = [Minute("all", at, "all", Sums(2, 60)) for at in (earlier, NOON)]
    of_cassandra = [
        Minute("all", earlier, "all", Sums(3, 100)),
        Minute("country", earlier, "Atlantis", Sums(1, 40)),
        Minute("all", NOON, "all", Sums(3, 100)),
    ]
    tables = Tables({NOON.date(): {}}, of_cassandra)
    Repair(tables, Kept(date.min, timedelta(days=30)), NOW, {earlier: 1}).all(of_mongo)
    minutes = [values for what, values in tables.written if what.startswith("INSERT")]
    assert [(values[2], values[4:6]) for values in minutes] == [(NOON, (2, 60))]
    assert ("put total", ("2026-11-24", *ALL, 5, 160)) in tables.written
    assert ("put total", ("2026-11-24", "country", "Atlantis", 1, 40)) in tables.written


def test_a_minute_keeps_no_longer_than_it_would_have():
    expired, last = (NOON - timedelta(days=30) + timedelta(minutes=n) for n in (-1, 1))
    minutes = [Minute("all", one, "all", Sums(1, 30)) for one in (expired, last)]
    tables = Tables({}, [])
    Repair(tables, Kept(date.min, timedelta(days=30)), NOW).all(minutes)
    puts = [values for what, values in tables.written if what.startswith("INSERT")]
    assert [(values[2], values[-1]) for values in puts] == [(last, 60)]
    assert ("put total", ("2026-10-25", "all", "all", 2, 60)) in tables.written
