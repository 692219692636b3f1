"""
Time ranges, and the crossed counts in them: partitions are read by their key, a day each, never the table.

A day is a day in UTC, as the stats lane sums it. Up to two hours are read minute by minute, longer ones day by day.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from cassandra.cluster import Session

from dashboard.cross import Cell, Counts, Tally, added, parted
from dashboard.queries import Statements, newest_summed
from dashboard.words import word
from spark.contract import ALL_TIME

HOUR, TODAY, YESTERDAY, WEEK, MONTH, ALL, DAYS = "hour", "today", "yesterday", "7d", "30d", "all", "days"
RANGES = {
    HOUR: word("Last hour"),
    TODAY: word("Today"),
    YESTERDAY: word("Yesterday"),
    WEEK: word("Last 7 days"),
    MONTH: word("Last 30 days"),
    ALL: word("All time"),
    DAYS: word("From … to …"),
}
LONGEST_DAYS = 92  # as many partitions are read at once

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@dataclass(frozen=True)
class Span:
    """From `first` up to, not including, `last` (UTC), in steps of a day or a minute; or all time."""

    first: datetime
    last: datetime
    step: Literal["minute", "day", "all"] = "day"

    def before(self) -> "Span | None":
        """The range of the same length that ends where this one begins; all time has none."""
        return None if self.step == "all" else Span(self.first - (self.last - self.first), self.first, self.step)

    def days(self) -> Iterator[date]:
        """Every day of which it has a part."""
        day = self.first.date()
        while day < self.last.date() or (day == self.last.date() and self.last.time() > time()):
            yield day
            day += DAY


@dataclass(frozen=True)
class Slice:
    """A minute's or a day's counts; of all time in one, `at` is its end."""

    at: datetime
    counts: Counts


@dataclass(frozen=True)
class Counted:
    """A range's counts, and when the newest user in Cassandra's sums was fetched; None before the first."""

    slices: tuple[Slice, ...]
    newest: datetime | None


def span(name: str, now: datetime, first: date | None = None, last: date | None = None) -> Span:
    """The range of this name, as of now; DAYS are `first` to `last`, both included, at most the LONGEST_DAYS last."""
    today = datetime.combine(now.date(), time(), UTC)
    if name == HOUR:
        minute = now.replace(second=0, microsecond=0)
        return Span(minute - timedelta(hours=1), minute, "minute")
    if name == YESTERDAY:
        return Span(today - DAY, today)
    if name == ALL:
        return Span(today, today + DAY, "all")
    if name == DAYS and first and last:
        end = datetime.combine(max(first, last), time(), UTC) + DAY
        begin = datetime.combine(min(first, last), time(), UTC)
        return Span(max(begin, end - LONGEST_DAYS * DAY), end)
    return Span(today + DAY - {WEEK: 7, MONTH: 30}.get(name, 1) * DAY, today + DAY)


def counted(session: Session, statements: Statements, wanted: Span) -> Counted:
    """A range's counts; how new they are is asked first, so that they are at least as new as is said."""
    newest = newest_summed(session, statements)
    return Counted(read(session, statements, wanted), newest)


def read(session: Session, statements: Statements, wanted: Span) -> tuple[Slice, ...]:
    """The counts of a range, in the order of time; what has nobody is left out."""
    if wanted.step == "all":
        rows = session.execute(statements.crossed, (ALL_TIME,))
        return (Slice(wanted.last, {parted(row.value): Tally(row.users, row.age_sum) for row in rows}),)
    days = list(wanted.days())
    if wanted.step == "day":
        asked = [session.execute_async(statements.crossed, (day.isoformat(),)) for day in days]
        found = [
            Slice(
                datetime.combine(day, time(), UTC),
                {parted(row.value): Tally(row.users, row.age_sum) for row in one.result()},
            )
            for day, one in zip(days, asked, strict=True)
        ]
        return tuple(one for one in found if one.counts)
    minutes: dict[datetime, dict[Cell, Tally]] = {}
    for one in [session.execute_async(statements.crossed_minutes, (day, wanted.first, wanted.last)) for day in days]:
        for row in one.result():
            minutes.setdefault(row.minute, {})[parted(row.value)] = Tally(row.users, row.age_sum)
    return tuple(Slice(at.replace(tzinfo=UTC), counts) for at, counts in sorted(minutes.items()))


def total(slices: tuple[Slice, ...]) -> Counts:
    """All of them in one."""
    return added(one.counts for one in slices)
