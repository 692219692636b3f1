"""
A soak: steady load for hours with a fault every few minutes, and a verdict on what grows.

Memory and open files are sampled of each program, by the life it leads between two of its starts; the lanes' state, the
bytes on disk and the lag of the whole. What grows steadily by more than its bound fails, by its name; and so does what
could not be measured.
"""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import NamedTuple

import psutil

from chaos import drawing, watch
from chaos.catalogue import Drill
from chaos.drawing import Frame
from chaos.gameday import Part, drawn, told_apart
from chaos.report import STYLE
from chaos.target import Target
from engines import supervise

EVERY_S = 10.0
WARM_S = 300.0  # a program's first minutes are its growing up
LEAST_S = 900.0  # of one life, for its slope to be one of an hour; a shorter one may grow as much in its own time
SHORT_S = 300.0  # of one life, for its slope to mean anything
LEAST_HOURS = 0.5  # of a soak
MEMORY, FILES, STATE, DISK, LAG, USERS = "memory MB", "open files", "state MB", "disk MB", "lag s", "users"

# What may grow in an hour, or in a life that is too short to tell: a share of what there is, or so much, if that is
# more.
MAY_GROW = {MEMORY: (0.10, 20.0), FILES: (0.10, 10.0), STATE: (0.25, 20.0)}
# MB that a program takes at its start, and touches for the first time over hours: Jaeger's store keeps its newest spans
# in a table of that size. Its heap, by its own metric, was 98 MB all the hour in which 45 MB more of it were touched.
FILLS = {"jaeger": 64.0}
DISK_A_USER = 20_000  # bytes of all logs, indexes, replicas and traces that one more user may leave behind
SEEN = 0.5  # of the rounds each thing must have been seen in, and of the users who were to come
THIRDS = 3
JUMP = 2.0  # times what it may grow in an hour is too much at once
WHOLE = "the whole"
LAG_S = 10.0  # the median lag of the last third may be so much


class Sample(NamedTuple):
    """What one program, or the whole (`""`), had of one thing; `life` is the pid whose it is."""

    at: float
    what: str
    of: str
    life: int
    value: float


@dataclass(frozen=True)
class Growth:
    """How one thing grew: at the end, a hour, what it may grow, and over how many seconds that was seen."""

    what: str
    of: str
    value: float
    an_hour: float
    may: float
    seconds: float

    @property
    def wrong(self) -> str:
        if self.an_hour <= self.may:
            return ""
        return f"{self.of} {self.what}: {self.an_hour:+,.1f} an hour at {self.value:,.0f}; {self.may:,.1f} are allowed"


@contextmanager
def sampled(target: Target) -> Iterator[list[Sample]]:
    """Look at everything every EVERY_S seconds, until the end of the `with`."""
    found, ended = list[Sample](), threading.Event()

    def look() -> None:
        while not ended.is_set():
            with suppress(Exception):  # everything may be down, which is a fault of its own; `unmeasured` counts
                found.extend(samples(target))
            ended.wait(EVERY_S)

    thread = threading.Thread(target=look, name="soak", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join(timeout=EVERY_S)


def samples(target: Target) -> Iterable[Sample]:
    """Look at everything once; what does not answer now is left out."""
    now = time.time()
    for name, one in supervise.processes(target.state).items():
        if one.pid:
            yield from of_program(now, name, one.pid)
    yield Sample(now, DISK, "", 0, occupied(target.settings.state) / 1e6)
    asked = {
        STATE: "sum(vigie_lane_state_bytes) / 1e6",
        LAG: "max(lane:vigie_behind:seconds)",
        USERS: 'sum(vigie_audit_count{hop="stored"})',
    }
    for what, question in asked.items():
        try:
            found = watch.query(target.settings.prometheus, question)
        except (OSError, ValueError, KeyError):
            continue
        yield from (Sample(now, what, "", 0, float(one["value"][1])) for one in found)


def of_program(now: float, name: str, pid: int) -> Iterable[Sample]:
    """The memory and the open files of a program and its children, without mapped files: they are a cache."""
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        used = [one.memory_info() for one in tree]
        memory = sum(one.rss - getattr(one, "shared", 0) for one in used)  # macOS does not tell them apart
        files = sum(one.num_fds() for one in tree)
    except psutil.Error:
        return
    yield Sample(now, MEMORY, name, pid, memory / 1e6)
    yield Sample(now, FILES, name, pid, files)


def occupied(folder: Path) -> int:
    """Bytes that the folder's files take on disk; what is removed meanwhile counts for nothing."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.lstat().st_blocks * 512
        except OSError:
            continue
    return total


def growths(found: Sequence[Sample]) -> list[Growth]:
    """The slope of every long enough life, the steepest of each program's."""
    lives: dict[tuple[str, str], dict[int, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for one in found:
        if one.what in MAY_GROW:
            lives[one.what, one.of][one.life].append(one)
    slopes = []
    for (what, of), each in lives.items():
        told = [growth(what, of, life) for life in each.values() if warm(life)[-1:] and lasted(warm(life)) >= SHORT_S]
        slopes += sorted(told, key=lambda one: one.an_hour / one.may)[-1:]
    return slopes


def warm(life: Sequence[Sample]) -> list[Sample]:
    return [one for one in life if one.at >= life[0].at + WARM_S]


def lasted(life: Sequence[Sample]) -> float:
    return life[-1].at - life[0].at


def growth(what: str, of: str, life: Sequence[Sample]) -> Growth:
    """The slope of a life, or of its later half if that is flatter: a step that a fault left is none."""
    used = warm(life)
    share, least = MAY_GROW[what]
    middle = median([one.value for one in used])
    seconds = lasted(used)
    later = used[len(used) // 2 :] if seconds >= 2 * LEAST_S else used
    slope = min(slope_of([(one.at, one.value) for one in some]) for some in (used, later)) * 3600
    fills = FILLS.get(of, 0.0) if what == MEMORY else 0.0
    bound = max(share * middle, least, fills)
    may = bound * (1.0 if seconds >= LEAST_S else 3600 / seconds)
    tenth = -(-len(used) // 10)
    jump = median([one.value for one in used[-tenth:]]) - median([one.value for one in used[:tenth]])
    if jump > JUMP * bound:
        slope = max(slope, jump / seconds * 3600)
    return Growth(what, of or WHOLE, used[-1].value, round(slope, 2), may, seconds)


def slope_of(points: Sequence[tuple[float, float]]) -> float:
    """The slope (a second) of Theil and Sen: the median of those between points, which a few faults do not move."""
    step = max(1, len(points) // 200)
    thinned = points[::step]
    slopes = [
        (value - other) / (at - before)
        for n, (at, value) in enumerate(thinned)
        for before, other in thinned[:n]
        if at > before
    ]
    return median(slopes)


def median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 0.0


def failures(found: Sequence[Sample], seconds: float, rate: float) -> list[str]:
    """A sentence for each thing that grew, stayed behind, or was not measured; `rate` is in users a second."""
    wrong = [*(one.wrong for one in growths(found) if one.wrong), *unmeasured(found, seconds, rate)]
    disk, users = of(found, DISK), of(found, USERS)
    if len(disk) > 1 and len(users) > 1 and users[-1][1] > users[0][1]:
        a_user = (disk[-1][1] - disk[0][1]) * 1e6 / (users[-1][1] - users[0][1])
        if a_user > DISK_A_USER:
            wrong.append(f"disk: {a_user:,.0f} bytes a user; {DISK_A_USER:,} are allowed")
    lag = [value for _, value in of(found, LAG)]
    behind = median(lag[-len(lag) // 3 :])
    if behind > LAG_S:
        wrong.append(f"lag: {behind:.0f} s is the median of the last third; {LAG_S:.0f} s are allowed")
    return wrong


def unmeasured(found: Sequence[Sample], seconds: float, rate: float) -> list[str]:
    """A sentence for each thing of which too little was seen to say that it does not grow, in any third of the time."""
    if not found:
        return ["nothing could be measured"]
    rounds, begin = int(seconds / THIRDS / EVERY_S), found[0].at
    wrong = []
    for what in (STATE, DISK, LAG, USERS):
        at = [int((when - begin) / seconds * THIRDS) for when, _ in of(found, what)]
        fewest = min(at.count(n) for n in range(THIRDS))
        if fewest < rounds * SEEN:
            wrong.append(f"{what}: measured {fewest} times of {rounds} in a third of the time")
    there = [value for _, value in of(found, USERS)]
    came = there[-1] - there[0] if there else 0.0
    if came < rate * seconds * SEEN:
        wrong.append(f"users: {came:,.0f} came, of some {rate * seconds:,.0f}")
    measured = {one.of for one in growths(found) if one.what == MEMORY}
    short = sorted({one.of for one in found if one.what == MEMORY} - measured)
    least = (WARM_S + SHORT_S) / 60
    return [*wrong, *(f"{name}: not measured, it never ran for {least:.0f} minutes" for name in short)]


def of(found: Sequence[Sample], what: str) -> list[tuple[float, float]]:
    return [(one.at, one.value) for one in found if one.what == what]


def plan(drills: Sequence[Drill], hours: float, every_minutes: float, seed: int) -> list[Part]:
    """One fault every so many minutes, drawn as a game day's are."""
    usable = int(hours * 60 / every_minutes)
    waiting = [part.drill for part in drawn(drills, usable * 3 + 20, seed)]  # more than needed, for their order
    parts: list[Part] = []
    for n in range(usable):
        able = (Part(len(parts) + 1, one, (n + 0.5) * every_minutes * 60) for one in waiting)
        fits = (one for one in able if one.ends < hours * 3600 and all(told_apart(part, one) for part in parts))
        if part := next(fits, None):
            parts.append(part)
            waiting.remove(part.drill)
    return parts


def html(
    title: str, found: Sequence[Sample], parts: Sequence[tuple[float, float]], word: str, failed: Sequence[str]
) -> str:
    """The verdict and the curves, one file."""
    frame = Frame(*((found[0].at, found[-1].at) if found else (0.0, 1.0)), parts)
    charts = [
        drawing.chart(frame, f"{name}: memory, MB", {name: series(found, MEMORY, name)})
        for name in sorted({one.of for one in found if one.what == MEMORY})
    ]
    charts += [
        drawing.chart(frame, f"{name}: open files", {name: series(found, FILES, name)})
        for name in sorted({one.of for one in found if one.what == FILES})
    ]
    whole = [drawing.chart(frame, what, {what: of(found, what)}) for what in (LAG, STATE, DISK, USERS)]
    said = "".join(f"<p>{escape(one)}</p>" for one in failed)
    head = f"<meta charset='utf-8'><title>{escape(title)}</title><style>{STYLE}</style>"
    shown = f"<h1>{escape(title)}: <span class='{word}'>{word}</span></h1>{said}<p>Shaded: faults.</p>"
    return f"<!doctype html><html lang='en'>{head}<body>{shown}{''.join(whole + charts)}</body></html>"


def series(found: Sequence[Sample], what: str, name: str) -> list[tuple[float, float]]:
    return [(one.at, one.value) for one in found if one.what == what and one.of == name]


def journal(found: Sequence[Sample], word: str, failed: Sequence[str]) -> str:
    return json.dumps(
        {
            "verdict": word,
            "failed": list(failed),
            "growth": [asdict(one) for one in growths(found)],
            "samples": [[round(one.at, 1), *one[1:4], round(one.value, 2)] for one in found],
        }
    )
