"""What the analysis shows: crossed counts in; tables and chart data out. Nothing here reads a store or a clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import pyarrow as pa
from pyarrow import csv, parquet

from dashboard import spans, views
from dashboard.cross import NOBODY, Cell, Counts, Tally, by, whole
from dashboard.spans import Slice, Span
from dashboard.words import day, percent, say, word
from spark.contract import AGE, COUNTRY, GENDER, NATIONALITY

TITLES = {
    COUNTRY: word("Country"),
    GENDER: word("Gender"),
    AGE: word("Age"),
    NATIONALITY: word("Nationality"),
}
LINES = 5  # as many values of a dimension as are drawn over time, the largest


@dataclass(frozen=True)
class Row:
    """One value of one dimension, or of two: its users now and before, each with its share of all of that time."""

    cell: Cell
    now: Tally
    share: float
    before: Tally
    share_before: float


def rows(now: Counts, before: Counts, dimensions: Sequence[str]) -> list[Row]:
    """Every combination that anybody is of, in the order in which people look for it."""
    tallies, earlier = by(now, *dimensions), by(before, *dimensions)
    users, users_before = whole(now).users, whole(before).users
    found = []
    for cell in ordered(set(tallies) | set(earlier), dimensions, now, before):
        one, was = tallies.get(cell, NOBODY), earlier.get(cell, NOBODY)
        share, share_before = (
            part / all_ if all_ else 0.0 for part, all_ in ((one.users, users), (was.users, users_before))
        )
        found.append(Row(cell, one, share, was, share_before))
    return found


def ordered(cells: set[Cell], dimensions: Sequence[str], now: Counts, before: Counts) -> list[Cell]:
    """Ages from the youngest, genders by name, all else from the largest."""
    sizes = [by(now, one) for one in dimensions], [by(before, one) for one in dimensions]

    def place(n: int, value: str) -> tuple[int, int, str]:
        if dimensions[n] == AGE:
            return int(value), 0, value
        if dimensions[n] == GENDER:
            return 0, 0, value
        one, was = (size[n].get((value,), NOBODY).users for size in sizes)
        return -one, -was, value

    return sorted(cells, key=lambda cell: [place(n, value) for n, value in enumerate(cell)])


def called(dimension: str, value: str) -> str:
    """A value as the viewer knows it."""
    if dimension == AGE:
        return views.band(value)
    return views.gender(value) if dimension == GENDER else say(value) if dimension == COUNTRY else value


def chart_table(found: Sequence[Row], dimensions: Sequence[str]) -> pa.Table:
    """For the charts: `value`, `column`, `users`, `share`, `points` (of change), `place` and `column_place`."""
    columns = list(dict.fromkeys(row.cell[-1] for row in found))
    if dimensions[-1] == AGE:
        columns.sort(key=int)
    names = list(dict.fromkeys(row.cell[0] for row in found))
    return pa.table(
        {
            "value": pa.array([called(dimensions[0], row.cell[0]) for row in found], pa.string()),
            "column": pa.array([called(dimensions[-1], row.cell[-1]) for row in found], pa.string()),
            "users": pa.array([row.now.users for row in found], pa.int64()),
            "share": pa.array([row.share for row in found], pa.float64()),
            "points": pa.array([100 * (row.share - row.share_before) for row in found], pa.float64()),
            "label": pa.array([views.label(row.now.users, row.share) for row in found], pa.string()),
            "sign": pa.array(
                [say("more") if row.share >= row.share_before else say("fewer") for row in found], pa.string()
            ),
            "place": pa.array([names.index(row.cell[0]) for row in found], pa.int64()),
            "column_place": pa.array([columns.index(row.cell[-1]) for row in found], pa.int64()),
        }
    )


def shown_table(found: Sequence[Row], dimensions: Sequence[str], *, compared: bool) -> pa.Table:
    """For eyes and downloads: a column a dimension, the users, their share and mean age, and how that was before."""
    table: dict[str, pa.Array] = {
        say(TITLES[name]): pa.array([called(name, row.cell[n]) for row in found], pa.string())
        for n, name in enumerate(dimensions)
    }
    table[say("Users")] = pa.array([row.now.users for row in found], pa.int64())
    table[say("Share")] = pa.array([row.share for row in found], pa.float64())
    table[say("Mean age")] = pa.array([mean(row.now) for row in found], pa.float64())
    if compared:
        table[say("Users before")] = pa.array([row.before.users for row in found], pa.int64())
        table[say("Share before")] = pa.array([row.share_before for row in found], pa.float64())
        table[say("Change in points")] = pa.array([100 * (row.share - row.share_before) for row in found], pa.float64())
    return pa.table(table)


def mean(tally: Tally) -> float | None:
    return tally.ages / tally.users if tally.users else None


def over_time(slices: Sequence[Slice], dimension: str) -> pa.Table:
    """One row a slice and value, of the LINES largest values: `at`, `value`, `users`."""
    sizes = by(spans.total(tuple(slices)), dimension)
    largest = sorted(sizes, key=lambda cell: -sizes[cell].users)[:LINES]
    found = [
        (one.at, called(dimension, cell[0]), tallies.get(cell, NOBODY).users)
        for one in slices
        for tallies in [by(one.counts, dimension)]
        for cell in largest
    ]
    return pa.table(
        {
            "at": pa.array([at for at, _, _ in found], pa.timestamp("ms", "UTC")),
            "value": pa.array([value for _, value, _ in found], pa.string()),
            "users": pa.array([users for _, _, users in found], pa.int64()),
        }
    )


def told(span: Span) -> str:
    """A range as a person says it; days and times are UTC."""
    if span.step == "all":
        return say("all time")
    if span.step == "minute":
        return say(
            "{day}, {first} to {last} UTC", day=day(span.first), first=f"{span.first:%H:%M}", last=f"{span.last:%H:%M}"
        )
    first, last = day(span.first), day(span.last - spans.DAY)
    return first if first == last else say("{first} to {last}", first=first, last=last)


def change(now: int, before: int) -> str | None:
    """By what share there are more or fewer; None where there was nobody."""
    return f"{'+' if now >= before else '-'}{percent(abs(now / before - 1))}" if before else None


def as_csv(table: pa.Table) -> bytes:
    """The table as CSV: UTF-8, names in the first line."""
    out = BytesIO()
    csv.write_csv(table, out)
    return out.getvalue()


def as_parquet(table: pa.Table) -> bytes:
    """The table as Parquet."""
    out = BytesIO()
    parquet.write_table(table, out)
    return out.getvalue()
