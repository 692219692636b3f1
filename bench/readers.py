"""
Who reads users.raw into the stores, ours and the peers: a process that can be held, let go, and asked how far it is.

A drain is measured warm: the reader has read everything, is held (SIGSTOP), the topic is filled, it is let go. What it
logs tells when which users were written; `batch done` lines, as the lanes have them.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import msgspec
import psutil

from bench import system
from bench.result import OURS
from bench.system import Cost, System
from observability import names, settings
from spark.contract import RAW, STATS

DONE = '"event":"batch done"'
SINKS = (RAW, STATS)
ASK_S = 0.1
REST_S, REST_ASKED = 3.0, 10
WARM_S = 240


@dataclass(frozen=True)
class Kind:
    """
    A reader's name, its module with the words behind it, the library that it cannot do without.

    `changed` are settings of its own; `root` is the working tree that it is run from. One that is `slow` need not have
    read everything before it is measured.
    """

    name: str
    module: tuple[str, ...]
    library: str = ""
    changed: tuple[tuple[str, str], ...] = ()
    root: Path = settings.ROOT
    slow: bool = False

    @property
    def absent(self) -> str:
        """Why it cannot run here; empty if it can."""
        missing = self.library and find_spec(self.library) is None
        return f"{self.library} is not installed: engines/bootstrap.sh engines --group peers" if missing else ""


LANES = Kind(OURS, system.LANES)
PLAIN = Kind("kafka-python, bulk", ("bench.peers.plain",))
QUIX = Kind("Quix Streams", ("bench.peers.quix",), "quixstreams")
BYTEWAX = Kind("Bytewax", ("bytewax.run", "bench.peers.flow:flow()"), "bytewax")
FAMILY = Kind(
    "row by row",
    ("bench.peers.rows",),
    changed=(("VIGIE_SPARK_UI_PORT", "14041"), ("SPARK_SUBMIT_OPTS", "")),
    slow=True,
)
PEERS = (FAMILY, PLAIN, QUIX, BYTEWAX)


class Mark(msgspec.Struct, frozen=True):
    """A `batch done` line: `rows` of a sink, there at `written` (Unix) or, as Spark tells it, `ms` after `started`."""

    lane: str
    rows: int
    written: float = 0.0
    started: str = ""
    ms: dict[str, int] = {}

    @property
    def ended(self) -> float:
        """Unix time."""
        if self.written:
            return self.written
        return datetime.fromisoformat(self.started).timestamp() + self.ms["triggerExecution"] / 1000


@dataclass(frozen=True)
class Drained:
    """
    Users a second into each sink, and into both; what the reader and the engines used for so many users.

    `wanted` is the backlog: `users` are fewer if there was no time for more. `network` are bytes that went over the
    loopback meanwhile, of all that runs here. `state` is what the lanes held at its end: rows, bytes of memory.
    """

    wanted: int
    users: int
    seconds: float
    rates: Mapping[str, float]
    both: float
    reader: Cost
    engines: Mapping[str, Cost]
    network: int
    batches: tuple[Mark, ...]
    state: tuple[int, int] | None = None

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor a user, of the reader and the engines."""
        return (self.reader.cpu_s + sum(one.cpu_s for one in self.engines.values())) / max(1, self.users) * 1e6


class Reader:
    """One that runs; everything that it has not read is its backlog."""

    def __init__(self, kind: Kind, of: System) -> None:
        self.kind, self.system = kind, of
        self.log = of.state.log(f"bench-{kind.name.replace(' ', '-')}-{time.time_ns()}")
        env = of.env | dict(kind.changed)
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", *kind.module]
            self.process = psutil.Popen(command, env=env, cwd=kind.root, stdout=log, stderr=log)

    def marks(self, since: int = 0) -> list[Mark]:
        """The batches that it has told of, from a place of its log on."""
        with self.log.open("rb") as log:
            log.seek(since)
            whole = log.read().decode(errors="replace").rpartition("\n")[0]
            lines = [line for line in whole.splitlines() if DONE in line]
        return [msgspec.json.decode(line, type=Mark) for line in lines]

    def done(self, since: int = 0) -> dict[str, int]:
        """Users by sink."""
        found = dict.fromkeys(SINKS, 0)
        for mark in self.marks(since):
            found[mark.lane] += mark.rows
        return found

    def left(self) -> int:
        """How many users of the topic the sink that is further behind has not told of."""
        before = self.system.read.get(self.kind.module, {})
        return max(self.system.users - before.get(sink, 0) - n for sink, n in self.done().items())

    def read_all(self, limit_s: float) -> bool:
        """Wait until both sinks have the whole topic, as `read` does."""
        return self._until(lambda: self.left() <= 0, limit_s)

    def read(self, users: int, limit_s: float, since: int = 0) -> bool:
        """Wait until both sinks have so many users; False if the time is over before. A held one is let go."""
        return self._until(lambda: min(self.done(since).values()) >= users, limit_s)

    def _until(self, so: Callable[[], bool], limit_s: float) -> bool:
        self.send(signal.SIGCONT)
        ends = time.monotonic() + limit_s
        while not so():
            if not self.process.is_running() or self.process.status() == psutil.STATUS_ZOMBIE:
                raise system.NotUp(f"{self.kind.name} has ended: {self.log.read_text(errors='replace')[-1500:]}")
            if time.monotonic() > ends:
                return False
            time.sleep(ASK_S)
        return True

    def send(self, sign: signal.Signals) -> None:
        system.tell(system.tree(self.process.pid), sign)

    def hold(self) -> None:
        """
        Let it stand still, from the middle of a second on: at its begin the lanes ask the brokers what is there, and
        who stood still meanwhile waits a second or more for the answer to a question of long ago.
        """
        time.sleep((0.5 - time.time()) % 1)
        self.send(signal.SIGSTOP)

    def drain(self, users: int, limit_s: float) -> Drained:
        """
        Read a backlog of so many users, or as many of them as `limit_s` lets; it is held before and after.

        Raises:
            NotUp: nothing at all was written to either sink, or the process has ended.
        """
        since, before, engines = self.log.stat().st_size, system.cost(self.process.pid), self.system.costs()
        sent, began = system.network(), time.time()
        self.read(users, limit_s, since)
        sent, state = system.network() - sent, self.state()
        self.hold()
        marks = self.marks(since)
        done, last = dict.fromkeys(SINKS, 0), dict.fromkeys(SINKS, began)
        for mark in marks:
            done[mark.lane] += mark.rows
            last[mark.lane] = max(last[mark.lane], mark.ended)
        if not max(done.values()):
            raise system.NotUp(f"{self.kind.name} has written nothing in {limit_s:.0f} s: {self.log}")
        rates = {sink: done[sink] / max(1e-3, last[sink] - began) for sink in SINKS}
        seconds = max(last.values()) - began
        used = {name: one.less(engines.get(name, Cost())) for name, one in self.system.costs().items()}
        mine = system.cost(self.process.pid).less(before)
        whole = min(done.values())
        both = whole / max(1e-3, seconds)
        return Drained(users, whole, seconds, rates, both, mine, used, sent, tuple(marks), state)

    def state(self) -> tuple[int, int] | None:
        """Rows and bytes of memory that the lanes hold; None of a peer, whose state nobody tells."""
        if self.kind.module != LANES.module:
            return None
        told = dict.fromkeys((names.LANE_STATE_ROWS.name, names.LANE_STATE_BYTES.name), 0)
        for one in (sample for family in self.system.metrics("SPARK") for sample in family.samples):
            if one.name in told:
                told[one.name] += int(one.value)
        rows, memory = told.values()
        return rows, memory

    def at_rest(self) -> None:
        """
        Let it go until it tells of nothing more: a batch that it is stopped in may be committed and not told.
        """
        self.send(signal.SIGCONT)
        told = -1
        for _ in range(REST_ASKED):
            before, told = told, sum(self.done().values())
            if told == before:
                return
            time.sleep(REST_S)

    def end(self) -> None:
        """Let it go and stop it with everything below it."""
        below = system.tree(self.process.pid)
        self.send(signal.SIGCONT)
        with suppress(psutil.NoSuchProcess):
            system.ended(self.process)
        system.tell(below, signal.SIGKILL)


@contextmanager
def reading(kind: Kind, of: System, limit_s: float) -> Iterator[Reader]:
    """
    A reader that has read the topic to its end, and is held; it is ended with the `with`.

    Raises:
        NotUp: it has ended by itself, or is not at the end within `limit_s` though it is not slow.
    """
    reader = Reader(kind, of)
    try:
        if not reader.read_all(limit_s) and not kind.slow:
            raise system.NotUp(f"{kind.name} has not read {of.users:,} users within {limit_s:.0f} s: {reader.done()}")
        reader.hold()
        yield reader
        if not kind.slow:
            reader.at_rest()
    finally:
        reader.end()
        before, now = of.read.get(kind.module, {}), reader.done()  # with the batches that it has ended meanwhile
        of.read[kind.module] = {sink: before.get(sink, 0) + now[sink] for sink in SINKS}


@contextmanager
def warm(of: System, users: int) -> Iterator[Reader]:
    """
    The lanes as they are, held, with everything read; the measures of a system share them, or start their own.

    They read `users` in their first batches. Whoever lets them go need not hold them again.

    Raises:
        NotUp: as `reading`.
    """
    if of.lanes is None:
        of.fill(users)
        lanes = of.sharing.enter_context(reading(LANES, of, WARM_S))
        of.sharing.callback(setattr, of, "lanes", None)
        of.lanes = lanes
    elif not of.lanes.read_all(WARM_S):
        raise system.NotUp(f"the lanes have not read {of.users:,} users within {WARM_S} s: {of.lanes.done()}")
    of.lanes.hold()
    yield of.lanes
    of.lanes.hold()
