"""What drills left on disk: the state folder's `drills/` as chaos writes it (docs/drills.md), read line by line."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import altair as alt
import msgspec
import pyarrow as pa

from dashboard.specs import Spec, spec, spoken
from dashboard.views import UNKNOWN, plain
from dashboard.words import say

FILE = "history.jsonl"
LARGEST = 2**20  # of the file, its end is read
MOST = 2_000  # lines
REPORTS = 50
MARGIN_PX = 100  # of a chart: the axis, its title and the legend
SAID = 80  # characters of why a drill failed
PASS, FAIL, STOPPED = "PASS", "FAIL", "STOPPED"
MARKS = {
    PASS: (":green-badge[:material/check: PASS]", "#009E73"),
    FAIL: (":red-badge[:material/close: FAIL]", "#D55E00"),
    STOPPED: (":orange-badge[:material/stop: STOPPED]", "#E69F00"),
}


class Line(msgspec.Struct, frozen=True):
    """One drill: its verdict, users by what was wrong with them, and seconds; None where it was not measured."""

    at: datetime
    name: str
    verdict: str
    title: str = ""
    number: int = 0
    failed: tuple[str, ...] = ()
    report: str = ""
    lost: int | None = None
    doubled: int | None = None
    phantom: int | None = None
    wrong: int | None = None
    seen: str | None = None
    detect_s: float | None = None
    recover_s: float | None = None
    cleared_s: float | None = None
    delayed: int | None = None
    slowest_s: float | None = None
    load: float | None = None


@dataclass(frozen=True)
class Drill:
    """One that can be run."""

    name: str
    title: str


def read(folder: Path) -> tuple[Line, ...]:
    """
    The drills that were run, oldest first; a line that is none is left out, as one that is being written.

    Raises:
        OSError: the file is there and cannot be read.
    """
    file = folder / FILE
    if not file.is_file():
        return ()
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - LARGEST))
        texts = opened.read(LARGEST).splitlines()[-MOST:]
    found = []
    for text in texts:
        try:
            found.append(msgspec.json.decode(text, type=Line))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return tuple(sorted(found, key=lambda line: line.at))


def experiments(folder: Path) -> tuple[Drill, ...]:
    """What can be run, by number and name; nothing where there is no such folder."""
    found = []
    for file in folder.glob("*.json"):
        try:
            made = json.loads(file.read_text())
            number = next((one.get("number", 0) for one in made.get("extensions", [])), 0)
            found.append((number, Drill(file.stem, str(made["title"]))))
        except (ValueError, KeyError, OSError, AttributeError):
            continue
    return tuple(drill for _, drill in sorted(found, key=lambda one: (one[0], one[1].name)))


def latest(lines: Iterable[Line]) -> tuple[Line, ...]:
    """The last of each drill: those that did not pass first, then by number."""
    last = {line.name: line for line in lines}
    return tuple(sorted(last.values(), key=lambda line: (line.verdict == PASS, line.number, line.name)))


def table(lines: Sequence[Line], headings: Sequence[str]) -> pa.Table:
    """One row a drill, as Markdown cells under these eight headings."""
    rows = [
        (
            f"**{plain(line.name)}**",
            MARKS.get(line.verdict, (plain(line.verdict), ""))[0],
            f"{line.at:%Y-%m-%d %H:%M}",
            count(line.lost),
            count(line.doubled),
            seconds(line.detect_s),
            seconds(line.recover_s),
            plain(short(line.failed[0] if line.failed else line.title)),
        )
        for line in lines
    ]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(headings)
    return pa.table({head: pa.array(cells, pa.string()) for head, cells in zip(headings, columns, strict=True)})


def short(text: str) -> str:
    return text if len(text) <= SAID else f"{text[:SAID]}…"


def count(users: int | None) -> str:
    return UNKNOWN if users is None else ":green[0]" if users == 0 else f":red[**{users:,}**]"


def seconds(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f} s"


def recoveries(lines: Iterable[Line]) -> pa.Table:
    """One row a drill that was measured: when, which, how long the promise took to hold again, and the verdict."""
    kept = [line for line in lines if line.recover_s is not None]
    return pa.table(
        {
            "at": pa.array([line.at for line in kept], pa.timestamp("ms", "UTC")),
            "drill": pa.array([line.name for line in kept], pa.string()),
            "seconds": pa.array([line.recover_s for line in kept], pa.float64()),
            "verdict": pa.array([line.verdict for line in kept], pa.string()),
            "detect": pa.array([seconds(line.detect_s) for line in kept], pa.string()),
        }
    )


def chart(drills: int, took: str) -> Spec:
    """A line a drill, its runs from left to right in time, by colour and form what the verdict was."""
    base = alt.Chart(alt.NamedData("rows"), height=30 * drills + MARGIN_PX).encode(
        y=alt.Y("drill:N", title=None, axis=alt.Axis(labelLimit=200, labelOverlap=False, grid=True)),
        x=alt.X("seconds:Q", title=took, axis=alt.Axis(tickMinStep=1)),
        tooltip=[
            alt.Tooltip("drill:N", title=say("Drill")),
            alt.Tooltip("at:T", title=say("Moment"), format="%Y-%m-%d %H:%M"),
            alt.Tooltip("seconds:Q", title=took, format=".1f"),
            alt.Tooltip("detect:N", title=say("Seen after")),
            alt.Tooltip("verdict:N", title=say("Verdict")),
        ],
    )
    words = list(MARKS)
    return spoken(
        spec(
            base.mark_point(size=80, filled=True, opacity=0.75).encode(
                color=alt.Color(
                    "verdict:N",
                    title=None,
                    scale=alt.Scale(domain=words, range=[MARKS[one][1] for one in words]),
                    legend=alt.Legend(orient="top"),
                ),
                shape=alt.Shape(
                    "verdict:N", scale=alt.Scale(domain=words, range=["circle", "cross", "square"]), legend=None
                ),
            )
        )
    )


def over_time(took: str) -> Spec:
    """One drill's recovery times, run by run."""
    base = alt.Chart(alt.NamedData("rows"), height=220).encode(
        x=alt.X("at:T", title=None, axis=alt.Axis(format="%d.%m. %H:%M", labelOverlap=True)),
        y=alt.Y("seconds:Q", title=took),
        tooltip=[
            alt.Tooltip("at:T", title=say("Moment"), format="%Y-%m-%d %H:%M"),
            alt.Tooltip("seconds:Q", format=".1f"),
        ],
    )
    return spoken(spec(base.mark_line(point={"filled": True, "size": 60})))


def reports(folder: Path, lines: Sequence[Line]) -> dict[str, Line]:
    """The newest reports that are there, by the file's name."""
    there = {file.name for file in folder.glob("*.html")}
    newest = [line for line in reversed(lines) if line.report in there]
    return {line.report: line for line in newest[:REPORTS]}
