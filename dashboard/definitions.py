"""
Grafana's dashboards as we read them: the JSON that Grafana is given, decoded to what our own pages draw.

    WrongDefinition    a file is no dashboard, or asks for what we do not know how to draw
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

STAT, LINES, TABLE, HEATMAP, TIMELINE, ALERTS = (
    "stat",
    "timeseries",
    "table",
    "heatmap",
    "state-timeline",
    "alertlist",
)
KINDS = (STAT, LINES, TABLE, HEATMAP, TIMELINE, ALERTS)
ROW = "row"
RUNBOOKS, OTHER, TRACES = "/public/vigie/runbooks/", "/d/", "/explore"
LABEL_VALUES = "label_values("


class WrongDefinition(Exception):
    """A file is no dashboard, or asks for what we do not know how to draw; the text names it."""


@dataclass(frozen=True)
class Query:
    """One question: PromQL with Grafana's variables, the name of each series (`{{label}}`), and Grafana's letter."""

    expr: str
    legend: str
    letter: str


@dataclass(frozen=True)
class Limit:
    """From which value on which colour; None is from the lowest on."""

    value: float | None
    colour: str


@dataclass(frozen=True)
class Column:
    """A column of a table: the label, or `Value` with the query's letter behind it; its heading and its unit."""

    name: str
    heading: str
    unit: str


@dataclass(frozen=True)
class Link:
    """Where a panel leads: to a runbook's name, another dashboard's uid, or a service's traces."""

    title: str
    kind: str
    to: str


@dataclass(frozen=True)
class Panel:
    """One panel, and its place in Grafana's grid of 24 columns."""

    id: int
    kind: str
    title: str
    says: str
    unit: str
    queries: tuple[Query, ...]
    y: int
    width: int
    height: int
    limits: tuple[Limit, ...] = ()
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # a value: its word and colour
    columns: tuple[Column, ...] = ()
    links: tuple[Link, ...] = ()
    stacked: bool = False


@dataclass(frozen=True)
class Row:
    """A heading and its panels, line by line."""

    title: str
    lines: tuple[tuple[Panel, ...], ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for line in self.lines for panel in line)


@dataclass(frozen=True)
class Variable:
    """A choice: a metric's values of the label that it is named after, or the values that are given."""

    name: str
    says: str
    every: str  # what stands for all of them in PromQL
    metric: str = ""
    label: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Board:
    """One dashboard; `since` is Grafana's word for where its time begins, such as `now-30m`."""

    uid: str
    title: str
    says: str
    since: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]


class _Place(msgspec.Struct):
    y: int
    w: int
    h: int
    x: int


class _Target(msgspec.Struct, rename="camel"):
    expr: str
    ref_id: str
    legend_format: str = ""


class _Panel(msgspec.Struct, rename="camel"):
    id: int
    type: str
    title: str
    grid_pos: _Place
    description: str = ""
    targets: list[_Target] = []
    links: list[dict[str, Any]] = []
    field_config: dict[str, Any] = {}
    transformations: list[dict[str, Any]] = []
    panels: list["_Panel"] = []


class _Variable(msgspec.Struct, rename="camel"):
    name: str
    type: str
    query: str
    description: str = ""
    all_value: str = ".+"


class _Templating(msgspec.Struct):
    variables: list[_Variable] = msgspec.field(default_factory=list, name="list")


class _Board(msgspec.Struct):
    uid: str
    title: str
    time: dict[str, str]
    panels: list[_Panel]
    description: str = ""
    templating: _Templating = msgspec.field(default_factory=_Templating)


def read(folder: Path) -> dict[str, Board]:
    """
    Every dashboard of the folder by its uid, the overview first.

    Raises:
        WrongDefinition: a file is no dashboard.
    """
    found = {}
    for file in sorted(folder.glob("*.json"), key=lambda file: ("overview" not in file.stem, file.stem)):
        try:
            one = board(file.read_bytes())
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError, OSError) as error:
            raise WrongDefinition(f"{file.name} is no dashboard: {error}") from error
        found[one.uid] = one
    return found


def board(text: bytes) -> Board:
    """One dashboard."""
    made = msgspec.json.decode(text, type=_Board)
    rows: list[tuple[str, list[_Panel]]] = [("", [])]
    for one in made.panels:
        if one.type == ROW:
            rows.append((one.title, list(one.panels)))
        else:
            rows[-1][1].append(one)
    return Board(
        made.uid,
        made.title,
        made.description,
        made.time.get("from", "now-1h"),
        tuple(Row(title, _lines(panels)) for title, panels in rows if panels),
        tuple(_variable(one) for one in made.templating.variables),
    )


def _lines(panels: list[_Panel]) -> tuple[tuple[Panel, ...], ...]:
    lines: dict[int, list[_Panel]] = {}
    for one in panels:
        lines.setdefault(one.grid_pos.y, []).append(one)
    return tuple(
        tuple(_panel(one) for one in sorted(line, key=lambda one: one.grid_pos.x)) for _, line in sorted(lines.items())
    )


def _panel(one: _Panel) -> Panel:
    if one.type not in KINDS:
        raise ValueError(f"panel {one.title!r} is a {one.type!r}, which is not known here")
    defaults = one.field_config.get("defaults", {})
    return Panel(
        id=one.id,
        kind=one.type,
        title=one.title,
        says=one.description,
        unit=defaults.get("unit", "none"),
        queries=tuple(Query(target.expr, target.legend_format, target.ref_id) for target in one.targets),
        y=one.grid_pos.y,
        width=one.grid_pos.w,
        height=one.grid_pos.h,
        limits=tuple(Limit(step["value"], step["color"]) for step in defaults.get("thresholds", {}).get("steps", ())),
        words={
            value: (word["text"], word.get("color", ""))
            for mapping in defaults.get("mappings", ())
            for value, word in mapping["options"].items()
        },
        columns=_columns(one),
        links=tuple(link for given in one.links if (link := _link(given["title"], given["url"]))),
        stacked=defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal",
    )


def _columns(one: _Panel) -> tuple[Column, ...]:
    units = {
        override["matcher"]["options"]: change["value"]
        for override in one.field_config.get("overrides", ())
        for change in override["properties"]
        if change["id"] == "unit"
    }
    order: dict[str, Any] = next((step["options"] for step in one.transformations if step["id"] == "organize"), {})
    headings = order.get("renameByName", {})
    names = sorted(order.get("indexByName", {}), key=lambda name: order["indexByName"][name])
    return tuple(Column(name, headings.get(name, name), units.get(headings.get(name, name), "none")) for name in names)


def _link(title: str, url: str) -> Link | None:
    if url.startswith(RUNBOOKS):
        return Link(title, RUNBOOKS, url.removeprefix(RUNBOOKS).removesuffix(".md"))
    if url.startswith(OTHER):
        return Link(title, OTHER, url.removeprefix(OTHER).partition("?")[0])
    if url.startswith(TRACES):
        panes = parse_qs(urlsplit(url).query).get("panes", [""])[0]
        asked = msgspec.json.decode(unquote(panes))
        service = next((query["service"] for pane in asked.values() for query in pane["queries"]), "")
        return Link(title, TRACES, service)
    return None


def _variable(one: _Variable) -> Variable:
    if one.query.startswith(LABEL_VALUES):
        metric, _, label = one.query.removeprefix(LABEL_VALUES).removesuffix(")").rpartition(",")
        return Variable(one.name, one.description, one.all_value, metric.strip(), label.strip())
    values = tuple(value.strip() for value in one.query.split(",") if value.strip())
    return Variable(one.name, one.description, one.all_value, values=values)
