"""Totals are sums of minutes: whatever comes twice, late, or after a restart in the middle, they come out the same."""

import tracemalloc
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from spark.totals import FEW, MINUTES, Minute, OfDay, Sums, Totals

START = datetime(2026, 11, 24, 23, 58, tzinfo=UTC).replace(tzinfo=None)
ALL, FR = ("all", "all"), ("country", "France")


class Store:
    """Minutes and totals as Cassandra holds them: a write is a full value."""

    def __init__(self) -> None:
        self.minutes: dict[tuple, Sums] = {}
        self.days: dict[tuple, Sums] = {}
        self.all: dict[tuple, Sums] = {}

    def totals(self) -> Totals:
        days: dict = {}
        for (day, key), sums in self.days.items():
            days.setdefault(day, {})[key] = sums
        return Totals(days, self.of_day)

    def of_day(self, day):
        return [Minute(d, m, v, sums) for (d, m, v), sums in self.minutes.items() if m.date() == day]

    def put_minutes(self, batch) -> None:
        self.minutes |= {(one.dimension, one.minute, one.value): one.sums for one in batch}

    def put_totals(self, days, all_time) -> None:
        self.days |= days
        self.all |= all_time

    def truth(self):
        total: dict = {}
        for (dimension, _, value), sums in self.minutes.items():
            total[dimension, value] = total.get((dimension, value), Sums(0, 0)).plus(sums)
        return total


def at(minutes: int, key=ALL, users: int = 1) -> Minute:
    return Minute(key[0], START + timedelta(minutes=minutes), key[1], Sums(users, users * 30))


def test_a_batch_that_comes_again_changes_nothing():
    store = Store()
    totals = store.totals()
    for _ in range(2):
        store.put_minutes([at(0, users=5), at(0, FR, 2)])
        store.put_totals(*totals.take([at(0, users=5), at(0, FR, 2)]))
    assert store.all == {ALL: Sums(5, 150), FR: Sums(2, 60)}


def test_midnight_parts_the_days_and_not_all_time():
    store = Store()
    batch = [at(1, users=3), at(2, users=4)]
    store.put_minutes(batch)
    store.put_totals(*store.totals().take(batch))
    assert sorted((str(day), sums.users) for (day, _), sums in store.days.items()) == [
        ("2026-11-24", 3),
        ("2026-11-25", 4),
    ]
    assert store.all == {ALL: Sums(7, 210)}


def test_a_store_that_fails_while_a_day_is_read_back_may_be_asked_again():
    store, failures = Store(), [ConnectionError]
    store.put_minutes([at(0, users=5), at(0, FR, 5)])

    def of_day(day):
        if failures:
            raise failures.pop()
        return store.of_day(day)

    totals = Totals({}, of_day)
    try:
        totals.take([at(0, users=5)])
    except ConnectionError:
        store.put_totals(*totals.take([at(0, users=5)]))
    assert store.all == {ALL: Sums(5, 150), FR: Sums(5, 150)}


@given(st.lists(st.tuples(st.integers(0, MINUTES - 1), st.integers(0, 9)), max_size=4 * FEW))
def test_a_day_holds_what_was_put_last_however_many_minutes_have_any(puts):
    day, there = OfDay(), {}
    for minute, users in puts:
        one = at(2 + minute, users=users)  # 2: the first minute of a day
        assert day.put(one) == there.get(minute, Sums(0, 0))
        there[minute] = one.sums
        assert day.total() == Sums(sum(n for n, _ in there.values()), sum(ages for _, ages in there.values()))


def test_values_that_are_seen_once_cost_little():
    tracemalloc.start()
    days = [OfDay() for _ in range(1000)]
    for day in days:
        day.put(at(700))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1000 * 1000


steps = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 6), st.sampled_from([ALL, FR]), st.integers(1, 9)), min_size=1, max_size=5),
        st.sampled_from(["done", "died before the totals", "died between them", "came twice"]),
    ),
    max_size=12,
)


@given(steps)
def test_totals_equal_the_sum_of_the_minutes_whenever_the_lane_dies(batches):
    store = Store()
    totals = store.totals()
    for drawn, end in batches:
        batch = list({(m, key): at(m, key, n) for m, key, n in drawn}.values())
        store.put_minutes(batch)
        if end.startswith("died"):
            days, _ = totals.take(batch)
            if end == "died between them":
                store.put_totals(dict(list(days.items())[:1]), {})
            totals = store.totals()  # a new start, and Spark brings the same batch again
            store.put_minutes(batch)
        store.put_totals(*totals.take(batch))
        if end == "came twice":
            store.put_totals(*totals.take(batch))
        assert store.all == store.truth()
