"""
A day's total is the sum of its minutes; all time is the sum of its days.

Spark gives the full value of each minute that a batch has touched. Totals follow from those by sums, never by adding
to what is stored: a batch that comes again changes nothing. A day's minutes are read back from the store when the day
is first met, so that a restart goes on from what is stored and not from what was remembered.
"""

from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

DAYS_HELD = 3  # minutes of that many days are held in memory: 23 KB a day for each value, some 350 of them
MINUTES = 24 * 60
FEW = 60  # minutes of a value that has that few take a hundred bytes each: whoever invents values costs little


class Sums(NamedTuple):
    """How many users, and the sum of their ages in years."""

    users: int
    age_sum: int

    def plus(self, other: "Sums") -> "Sums":
        return Sums(self.users + other.users, self.age_sum + other.age_sum)

    def less(self, other: "Sums") -> "Sums":
        return Sums(self.users - other.users, self.age_sum - other.age_sum)


NOBODY = Sums(0, 0)
Key = tuple[str, str]  # dimension, value


@dataclass(frozen=True)
class Minute:
    """The full value of one minute (UTC, of the broker's append time) for one value of one dimension."""

    dimension: str
    minute: datetime
    value: str
    sums: Sums


class OfDay:
    """One value's sums of each minute of a day, in 23 KB however many there are; of a few minutes alone in less."""

    def __init__(self) -> None:
        self._few: dict[int, Sums] = {}
        self._all: tuple[array[int], array[int]] | None = None

    def put(self, one: Minute) -> Sums:
        """Set a minute; return what it was."""
        n = one.minute.hour * 60 + one.minute.minute
        if self._all is None:
            before = self._few.get(n, NOBODY)
            self._few[n] = one.sums
            if len(self._few) > FEW:
                self._grow()
            return before
        users, ages = self._all
        before = Sums(users[n], ages[n])
        users[n], ages[n] = one.sums
        return before

    def _grow(self) -> None:
        users, ages = self._all = array("q", bytes(8 * MINUTES)), array("q", bytes(8 * MINUTES))
        for n, sums in self._few.items():
            users[n], ages[n] = sums
        self._few.clear()

    def total(self) -> Sums:
        if self._all is None:
            return Sums(sum(n for n, _ in self._few.values()), sum(ages for _, ages in self._few.values()))
        users, ages = self._all
        return Sums(sum(users), sum(ages))


class Totals:
    """The totals by day and of all time, kept in step with the minutes."""

    def __init__(self, days: Mapping[date, Mapping[Key, Sums]], minutes_of: Callable[[date], Iterable[Minute]]) -> None:
        """`days`: the stored totals of every day; `minutes_of` reads the stored minutes of one day."""
        self._days = {day: dict(sums) for day, sums in days.items()}
        self._minutes_of = minutes_of
        self._held: OrderedDict[date, dict[Key, OfDay]] = OrderedDict()
        self._all: dict[Key, Sums] = {}
        self._touched: set[tuple[date, Key]] = set()
        for sums in self._days.values():
            for key, one in sums.items():
                self._all[key] = self._all.get(key, NOBODY).plus(one)

    def take(self, minutes: Iterable[Minute]) -> tuple[dict[tuple[date, Key], Sums], dict[Key, Sums]]:
        """Take a batch's minutes, once they are stored; return the totals of days, and of all time, to be stored."""
        for one in minutes:
            day, key = one.minute.date(), (one.dimension, one.value)
            if day not in self._held:
                self._hold(day)
            before = self._held[day].setdefault(key, OfDay()).put(one)
            self._change(day, key, one.sums.less(before))
        days = {(day, key): self._days[day][key] for day, key in self._touched}
        all_time = {key: self._all[key] for _, key in self._touched}
        self._touched.clear()
        return days, all_time

    def _hold(self, day: date) -> None:
        """Read a day's minutes back and set its totals by them."""
        held: dict[Key, OfDay] = {}
        for one in self._minutes_of(day):
            held.setdefault((one.dimension, one.value), OfDay()).put(one)
        self._held[day] = held
        while len(self._held) > DAYS_HELD:
            self._held.popitem(last=False)
        for key, minutes in held.items():
            self._change(day, key, minutes.total().less(self._days.get(day, {}).get(key, NOBODY)))

    def _change(self, day: date, key: Key, more: Sums) -> None:
        sums = self._days.setdefault(day, {})
        sums[key] = sums.get(key, NOBODY).plus(more)
        self._all[key] = self._all.get(key, NOBODY).plus(more)
        self._touched.add((day, key))
