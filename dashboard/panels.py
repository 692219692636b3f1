"""A panel's answers as what is drawn: numbers, tables of points, and the charts' specifications. Nothing here asks."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, isinf

import altair as alt
import pyarrow as pa

from dashboard import units
from dashboard.charts import GREY
from dashboard.definitions import Column, Limit, Panel, Query
from dashboard.prometheus import Sample, Series
from dashboard.specs import Spec, spec

MOST_SERIES = 24  # lines of one panel; of more, the ones with the largest values
MOST_ROWS = 200
LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
AUTO = ("", "__auto")
WORDS = {"green": "green", "yellow": "orange", "red": "red", "blue": "blue"}  # Grafana's colours, as text that is read
INK = {"green": "#009E73", "yellow": "#E69F00", "red": "#D55E00", "blue": "#0072B2", "": GREY}
ICONS = {"green": ":material/check_circle:", "yellow": ":material/warning:", "red": ":material/error:"}
ROW_PX = 34  # Grafana's unit of height
BAR_PX = 22
PAST = 60  # points behind a large number

Found = Sequence[tuple[Query, Sequence[Series]]]


@dataclass(frozen=True)
class Number:
    """A large number: whose it is, its text and colour, and how it came to be."""

    name: str
    text: str
    colour: str
    past: tuple[float, ...]


@dataclass(frozen=True)
class Chart:
    """A table and how it is drawn; `more` series are not."""

    table: pa.Table
    spec: Spec
    more: int = 0


def name(query: Query, labels: Mapping[str, str]) -> str:
    """What a series is called: as its query says, or by its labels."""
    if query.legend not in AUTO:
        return LABEL.sub(lambda found: labels.get(found[1], ""), query.legend).strip() or "Value"
    shown = ", ".join(f"{label} {value}" for label, value in sorted(labels.items()) if label != "__name__")
    return shown or labels.get("__name__", "") or "Value"


def colour(limits: Iterable[Limit], value: float | None) -> str:
    """The colour of the highest limit that the value has reached; none without limits or a value."""
    if value is None:
        return ""
    reached = [limit for limit in limits if limit.value is None or value >= limit.value]
    return reached[-1].colour if reached else ""


def numbers(panel: Panel, found: Found) -> tuple[Number, ...]:
    """The last value of each series that is one, as Grafana's `lastNotNull`."""
    shown = []
    for query, series in found:
        for one in series:
            past = tuple(value for _, value in one.points if value is not None)
            if past:
                word, ink = panel.words.get(f"{past[-1]:.15g}", ("", ""))
                text = word or units.text(panel.unit, past[-1])
                finite = tuple(value for value in past if isfinite(value))
                shown.append(Number(name(query, one.labels), text, ink or colour(panel.limits, past[-1]), finite))
    return tuple(shown)


def apart(names: Sequence[str]) -> list[str]:
    """The names, a second one of the same told apart: else their points would be one line."""
    return [name if (n := names[:place].count(name)) == 0 else f"{name} #{n + 1}" for place, name in enumerate(names)]


def lines(panel: Panel, found: Found, step_s: float) -> Chart | None:
    """Lines or stacked areas over time; where a series has no points, its line is broken. None where none has any."""
    every = [
        (name(query, one.labels), [(at, None if value is None or isinf(value) else value) for at, value in one.points])
        for query, series in found
        for one in series
    ]
    every = [(called, points) for called, points in every if any(value is not None for _, value in points)]
    if not every:
        return None
    told = apart([called for called, _ in every])
    every = [(called, points) for called, (_, points) in zip(told, every, strict=True)]
    kept = sorted(every, key=lambda one: -max(value or 0.0 for _, value in one[1]))[:MOST_SERIES]
    peak = max(abs(value) for _, points in kept for _, value in points if value is not None)
    by, suffix = units.scale(panel.unit, peak)
    moments: list[float] = []
    values: list[float | None] = []
    names: list[str] = []
    for called, points in kept:
        last = None
        for at, value in points:
            if last is not None and at - last > 1.5 * step_s:
                moments, values, names = [*moments, last + step_s], [*values, None], [*names, called]
            moments.append(at)
            values.append(None if value is None else value / by)
            names.append(called)
            last = at
    table = pa.table(
        {
            "at": pa.array([round(at * 1000) for at in moments], pa.timestamp("ms", "UTC")),
            "value": pa.array(values, pa.float64()),
            "series": pa.array(names, pa.string()),
            "text": pa.array([units.text(panel.unit, None if v is None else v * by) for v in values], pa.string()),
        }
    )
    marks = tuple(
        (limit.value / by, INK.get(limit.colour, GREY))
        for limit in panel.limits
        if limit.value is not None and limit.value <= 1.25 * peak
    )
    # a single series needs no legend: the title says what it is
    return Chart(
        table, _lines(panel.stacked, marks, suffix, panel.height * ROW_PX, len(kept) > 1), len(every) - len(kept)
    )


@lru_cache(maxsize=256)
def _lines(stacked: bool, marks: tuple[tuple[float, str], ...], suffix: str, height: int, legend: bool) -> Spec:
    base = alt.Chart(alt.NamedData("rows"), height=height).encode(
        x=alt.X("at:T", title=None, axis=alt.Axis(format="%H:%M", labelOverlap=True, tickCount=6, grid=False)),
        y=alt.Y(
            "value:Q",
            title=None,
            stack="zero" if stacked else None,
            axis=alt.Axis(labelExpr=f"format(datum.value, ',~f') + '{suffix}'", tickCount=5),
        ),
        color=alt.Color("series:N", title=None, legend=_legend() if legend else None),
        tooltip=[
            alt.Tooltip("at:T", title="At", format="%H:%M:%S"),
            alt.Tooltip("series:N", title="Series"),
            alt.Tooltip("text:N", title="Value"),
        ],
    )
    point = alt.OverlayMarkDef(opacity=0, size=90, filled=True)
    drawn = (
        base.mark_area(opacity=0.6, line={"strokeWidth": 1}, point=point)
        if stacked
        else base.mark_line(strokeWidth=1.5, point=point)
    )
    limits = [
        alt.Chart(alt.NamedData("rows"))
        .transform_aggregate(points="count()")  # else a line a row
        .mark_rule(strokeDash=[5, 4], color=ink, size=1.2, opacity=0.9)
        .encode(y=alt.datum(value))
        for value, ink in marks
    ]
    return spec(alt.layer(drawn, *limits))


def _legend() -> alt.Legend:
    return alt.Legend(orient="bottom", columns=3, labelLimit=150, symbolStrokeWidth=3, symbolOpacity=1, offset=4)


def heatmap(panel: Panel, found: Found, step_s: float) -> Chart | None:
    """How many observations a second fell between two bounds: Prometheus's buckets hold all below theirs."""
    buckets = [
        (float(one.labels["le"]), dict(one.points)) for _, series in found for one in series if "le" in one.labels
    ]
    buckets.sort(key=lambda one: one[0])
    rows: list[tuple[float, str, int, float]] = []
    below: dict[float, float | None] = {}
    for place, (bound, values) in enumerate(buckets):
        for at, value in values.items():
            inside = (value or 0.0) - (below.get(at) or 0.0)
            if inside > 1e-9:
                rows.append((at, "more" if bound == float("inf") else units.text(panel.unit, bound), place, inside))
        below = values
    if not rows:
        return None
    ats, bounds, places, inside_ = zip(*rows, strict=True)
    table = pa.table(
        {
            "at": pa.array([round((at - step_s) * 1000) for at in ats], pa.timestamp("ms", "UTC")),
            "until": pa.array([round(at * 1000) for at in ats], pa.timestamp("ms", "UTC")),
            "bound": pa.array(bounds, pa.string()),
            "place": pa.array(places, pa.int64()),
            "rate": pa.array(inside_, pa.float64()),
        }
    )
    return Chart(table, _heatmap(panel.height * ROW_PX))


@lru_cache(maxsize=16)
def _heatmap(height: int) -> Spec:
    chart = alt.Chart(alt.NamedData("rows"), height=height).mark_rect()
    return spec(
        chart.encode(
            x=alt.X("at:T", title=None, axis=alt.Axis(format="%H:%M", labelOverlap=True, tickCount=6)),
            x2="until:T",
            y=alt.Y("bound:O", title=None, sort=alt.EncodingSortField("place", op="min", order="descending")),
            opacity=alt.Opacity("rate:Q", legend=None, scale=alt.Scale(type="sqrt", range=[0.12, 1])),
            tooltip=[
                alt.Tooltip("until:T", title="At", format="%H:%M:%S"),
                alt.Tooltip("bound:O", title="Up to"),
                alt.Tooltip("rate:Q", title="A second", format=",.3~f"),
            ],
        )
    )


def timeline(panel: Panel, found: Found, step_s: float) -> Chart | None:
    """A bar a state and series; equal neighbours are one, and where a series has no points there is none."""
    bars: list[tuple[str, float, float, str]] = []
    for query, series in found:
        for one in series:
            called, running = name(query, one.labels), None
            for at, value in one.points:
                state = units.NOTHING if value is None else panel.words.get(f"{value:.15g}", ("", ""))[0]
                state = state or units.text(panel.unit, value)
                if running and running[3] == state and at - running[2] < 0.5 * step_s:
                    running = (called, running[1], at + step_s, state)
                    bars[-1] = running
                else:
                    running = (called, at, at + step_s, state)
                    bars.append(running)
    if not bars:
        return None
    names, begun, ended, states = zip(*bars, strict=True)
    table = pa.table(
        {
            "series": pa.array(names, pa.string()),
            "at": pa.array([round(at * 1000) for at in begun], pa.timestamp("ms", "UTC")),
            "until": pa.array([round(at * 1000) for at in ended], pa.timestamp("ms", "UTC")),
            "state": pa.array(states, pa.string()),
        }
    )
    words = tuple((word, INK.get(ink, GREY)) for word, ink in panel.words.values())
    return Chart(table, _timeline(words, max(panel.height * ROW_PX - 60, len(set(names)) * BAR_PX)))


@lru_cache(maxsize=64)
def _timeline(words: tuple[tuple[str, str], ...], height: int) -> Spec:
    scale = alt.Scale(domain=[word for word, _ in words], range=[ink for _, ink in words]) if words else alt.Undefined
    return spec(
        alt.Chart(alt.NamedData("rows"), height=height)
        .mark_bar(height={"band": 0.75})
        .encode(
            x=alt.X("at:T", title=None, axis=alt.Axis(format="%H:%M", labelOverlap=True, tickCount=6, grid=False)),
            x2="until:T",
            y=alt.Y("series:N", title=None, axis=alt.Axis(labelLimit=160)),
            color=alt.Color("state:N", title=None, scale=scale, legend=_legend()),
            tooltip=[
                alt.Tooltip("series:N", title="Series"),
                alt.Tooltip("state:N", title="State"),
                alt.Tooltip("at:T", title="From", format="%H:%M:%S"),
                alt.Tooltip("until:T", title="Until", format="%H:%M:%S"),
            ],
        )
    )


def rows(panel: Panel, found: Sequence[tuple[Query, Sequence[Sample]]]) -> pa.Table | None:
    """One row for each set of labels, the queries' values side by side; numbers stay numbers, so that they sort."""
    merged: dict[tuple[tuple[str, str], ...], dict[str, float | str | None]] = {}
    for query, samples in found:
        field = f"Value #{query.letter}" if len(panel.queries) > 1 else "Value"
        for one in samples:
            labels = {label: value for label, value in one.labels.items() if label != "__name__"}
            merged.setdefault(tuple(sorted(labels.items())), dict(labels))[field] = one.value
    if not merged:
        return None
    columns = panel.columns or tuple(Column(label, label, "none") for label in next(iter(merged.values())))
    order = [column.name for column in columns]
    lines = sorted(merged.values(), key=lambda row: [_order(row.get(label)) for label in order])[:MOST_ROWS]
    return pa.table({column.heading: _cells(column, [line.get(column.name) for line in lines]) for column in columns})


def _cells(column: Column, values: list[float | str | None]) -> pa.Array:
    if not column.name.startswith("Value"):
        return pa.array(["" if value is None else str(value) for value in values], pa.string())
    return pa.array([value if isinstance(value, float) else None for value in values], pa.float64())


def _order(value: float | str | None) -> tuple[int, float, str]:
    if isinstance(value, str):
        return (0, float(value), "") if value.isdecimal() else (1, 0.0, value)
    return (2, value or 0.0, "")
