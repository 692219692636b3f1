"""`status`: what runs, for how long, with how much memory and how many restarts; and how far users have come."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from engines import config, hops, leftovers, supervise
from engines.console import table
from engines.hops import Hops
from engines.state import State


@dataclass(frozen=True)
class Line:
    """One process as `make status` shows it; memory is its own and its children's, in bytes."""

    name: str
    state: str
    pid: int
    uptime_s: int
    memory: int
    restarts: int


@dataclass(frozen=True)
class Status:
    """The whole answer; `running` means that every process runs, `left` counts those without a supervisor."""

    running: bool
    root: Path
    left: int
    processes: Sequence[Line]
    hops: Hops


def status(outer: Mapping[str, str]) -> Status:
    """Look at everything of one state folder."""
    state = State(config.folder(outer))
    if not supervise.alive(state):
        return Status(False, state.root, len(leftovers.marked(state.root)), (), {})
    starts = supervise.starts(state)
    lines = [
        Line(
            name=one.name,
            state=one.state,
            pid=one.pid,
            uptime_s=int(time.time()) - one.since if one.pid else 0,
            memory=memory(one.pid) if one.pid else 0,
            restarts=max(0, starts[one.name] - 1),
        )
        for one in supervise.processes(state).values()
    ]
    running = all(line.state == supervise.RUNNING for line in lines)
    return Status(running, state.root, 0, lines, hops.read(config.environ(outer, running=True)))


def memory(pid: int) -> int:
    """Resident bytes of a process and all its children; 0 when it has just ended."""
    try:
        process = psutil.Process(pid)
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0


def text(status: Status) -> str:
    """The two tables, or a sentence that nothing runs."""
    if not status.processes:
        left = f"; left without a supervisor: {status.left} of its processes; make down" if status.left else ""
        return f"not running ({status.root}){left}"
    rows = [
        (
            line.name,
            line.state.lower(),
            str(line.pid or "-"),
            duration(line.uptime_s),
            f"{line.memory / 1e6:.0f} MB",
            str(line.restarts),
        )
        for line in status.processes
    ]
    whole = sum(line.memory for line in status.processes)
    return "\n".join(
        [
            table(("process", "state", "pid", "up", "memory", "restarts"), rows),
            f"memory of all: {whole / 1e9:.1f} GB",
            "",
            table(("hop", "count"), [(name, hops.text(count)) for name, count in status.hops.items()])
            if status.hops
            else "the hops cannot be counted now: .venv/bin/python -m services.hops says why",
        ]
    )


def duration(seconds: int) -> str:
    """3725 as 1:02:05."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def plain(status: Status) -> dict[str, object]:
    """The answer for other programs."""
    return {**asdict(status), "root": str(status.root)}
