"""
What a panel is, as data: what it asks, what it is called, and what good looks like. `grafana.draw` makes it Grafana's.

A panel says in `says` what good looks like; where a number can be judged, its limits say so in colours, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict, Unpack

from grafana.promql import Named, quantile

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"
LINES, STACKED, STAT, HEATMAP, TABLE, TIMELINE, ALERTS = (
    "lines",
    "stacked",
    "stat",
    "heatmap",
    "table",
    "timeline",
    "alerts",
)

Limits = tuple[tuple[float | None, str], ...]  # from which value on which colour; None is from the lowest on
Words = Mapping[int, tuple[str, str]]  # a value, and the word and colour that are shown for it


class More(TypedDict, total=False):
    """Where a panel leads: see `Panel`."""

    runbook: str
    leads: str
    service: str


ON_OFF: Words = {0: ("no", GREEN), 1: ("yes", RED)}
UP_DOWN: Words = {0: ("down", RED), 1: ("up", GREEN)}


@dataclass(frozen=True)
class Query:
    """One question to Prometheus: the expression, the name of each series, and whether examples of traces are shown."""

    expr: str
    legend: str = ""
    exemplars: bool = False


@dataclass(frozen=True)
class Column:
    """A column of a table: the field or label, its heading, its unit."""

    name: str
    heading: str
    unit: str = "none"


@dataclass(frozen=True)
class Panel:
    """One panel; its place is made by `grafana.draw` from width and height (24 columns to a line)."""

    kind: str
    title: str
    says: str
    unit: str
    queries: tuple[Query, ...]
    width: int = 8
    height: int = 7
    limits: Limits = ()
    words: Words = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    runbook: str = ""  # a page of docs/runbooks, without .md
    leads: str = ""  # the uid of the dashboard that says more
    service: str = ""  # the process whose traces say more


@dataclass(frozen=True)
class Row:
    """A heading and the panels below it, from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice at the top: a metric's values of the label that it is named after, or the values that are given."""

    name: str
    says: str
    metric: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    says: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()
    since: str = "now-30m"


def above(warning: float, wrong: float) -> Limits:
    """Good is low."""
    return ((None, GREEN), (warning, YELLOW), (wrong, RED))


def below(wrong: float, warning: float) -> Limits:
    """Good is high."""
    return ((None, RED), (wrong, YELLOW), (warning, GREEN))


ZERO: Limits = ((None, GREEN), (1, RED))
QUIET: Limits = ((None, GREEN), (0.0001, RED))  # a rate of what should never happen
NOTED: Limits = ((None, GREEN), (1, YELLOW))  # nothing is wrong yet
ONE: Limits = ((None, RED), (1, GREEN), (2, RED))
NEUTRAL: Limits = ((None, BLUE),)


def ask(expr: str, legend: str = "") -> Query:
    return Query(expr, legend)


def sampled(expr: str, legend: str = "") -> Query:
    """A question whose answer shows examples, each of which leads to its trace."""
    return Query(expr, legend, exemplars=True)


def quantiles(metric: Named, by: str = "", where: str = "", legend: str = "") -> tuple[Query, ...]:
    """p50, p95 and p99 of a histogram; the examples are the same for all three, so the last one asks for them."""
    named = [(share, f"{legend} p{share * 100:g}".strip()) for share in (0.5, 0.95, 0.99)]
    return tuple(Query(quantile(share, metric, by, where), name, share == 0.99) for share, name in named)


def lines(
    title: str, says: str, unit: str, *queries: Query, width: int = 8, limits: Limits = (), **more: Unpack[More]
) -> Panel:
    return Panel(LINES, title, says, unit, queries, width, limits=limits, **more)


def stacked(title: str, says: str, unit: str, *queries: Query, width: int = 8, **more: Unpack[More]) -> Panel:
    """Areas that add up to the whole."""
    return Panel(STACKED, title, says, unit, queries, width, **more)


def stat(
    title: str,
    says: str,
    unit: str,
    *queries: Query,
    limits: Limits = NEUTRAL,
    width: int = 3,
    words: Words | None = None,
    **more: Unpack[More],
) -> Panel:
    """One number, large."""
    return Panel(STAT, title, says, unit, queries, width, 4, limits, words or {}, **more)


def heatmap(title: str, says: str, expr: str, width: int = 8, **more: Unpack[More]) -> Panel:
    """How durations are spread, by the buckets of a histogram."""
    query = Query(expr, "{{le}}", exemplars=True)
    return Panel(HEATMAP, title, says, "s", (query,), width, **more)


def table(
    title: str,
    says: str,
    columns: tuple[Column, ...],
    *queries: Query,
    width: int = 12,
    height: int = 7,
    **more: Unpack[More],
) -> Panel:
    """Labels and values now; with one query the value's field is `Value`, with more `Value #A`, `Value #B`."""
    return Panel(TABLE, title, says, "none", queries, width, height, columns=columns, **more)


def timeline(title: str, says: str, words: Words, *queries: Query, width: int = 12, **more: Unpack[More]) -> Panel:
    """States over time, one bar a series."""
    return Panel(TIMELINE, title, says, "none", queries, width, words=words, **more)
