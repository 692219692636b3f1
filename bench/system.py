"""
A system of its own under measure: its start, the users that fill its topic, and what its processes have used.

It is brought up as a user does, on ports and a state folder of its own. Ingestion and the lanes then stand still, so
that whoever is measured runs alone.

    NotUp       the system did not start, or did not fill; the text says what it said
"""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import requests
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from engines import archives, config, programs, supervise, tools
from engines.state import State
from observability import retry, settings
from services import hops

if TYPE_CHECKING:
    from bench.readers import Reader

PAGE = 100  # users of a page
FIRST_PAGES = 2
UP_S, DOWN_S, FILL_S = 400, 200, 60
END_S = 25
AGAIN_S = 0.2
SLOWEST = 200  # users/s: what ingestion and any reader of ours reach on every machine that this is meant for
RUN = {
    "VIGIE_SEED": "bench",
    "VIGIE_RATE": "20",
    "VIGIE_PAGE_SIZE": str(PAGE),
    "VIGIE_PAGES": str(FIRST_PAGES),
    "VIGIE_BUDGET_USERS": "0",
    "VIGIE_SIMULATOR_LIMIT_USERS": "0",
    "VIGIE_CANARY_S": "0",  # every message is a user: what is read can be told by number
}
LANES = ("spark.lanes",)
ENV_FILE = "VIGIE_ENV_FILE"
FIRST_USERS = re.compile(r"([0-9.]+) s +users +are in both stores")


class NotUp(Exception):
    """The system did not start, or did not fill; the text says what it said."""


@dataclass(frozen=True)
class Cost:
    """What a process and all below it have used: processor seconds, bytes written to disk; and its memory now."""

    cpu_s: float = 0.0
    written: int = 0
    memory: int = 0

    def less(self, other: "Cost") -> "Cost":
        return Cost(self.cpu_s - other.cpu_s, self.written - other.written, self.memory)


@dataclass(frozen=True)
class Filled:
    """What a fill took: users acknowledged by the brokers, seconds of the clock, processor seconds of ingestion."""

    users: int
    seconds: float
    cpu_s: float


@dataclass
class System:
    """
    A running system; `env` is the environment of its processes, `first_users_s` from its start to both stores.

    `pages` of RUN's seed are fetched; `strangers` are messages on users.raw that another outbox than its own has sent.
    `lanes` are the warm ones that measures share, if they run; closing `sharing` ends them.
    """

    env: dict[str, str]
    state: State
    first_users_s: float
    pages: int = FIRST_PAGES
    strangers: int = 0
    read: dict[tuple[str, ...], dict[str, int]] = field(default_factory=dict)  # by each reader and sink, when it ended
    lanes: "Reader | None" = None
    sharing: ExitStack = field(default_factory=ExitStack)

    @property
    def users(self) -> int:
        """All messages on users.raw."""
        return self.acknowledged() + self.strangers

    def setting(self, name: str) -> str:
        return self.env[f"VIGIE_{name}"]

    def acknowledged(self) -> int:
        """Who opens it first or closes it last has the outbox alone for a moment, and no time-out waits for that."""
        asking = retry.policy("outbox", sqlite3.OperationalError, attempts=10, longest_s=1)
        return asking(hops.of_outbox, self.hops).acknowledged or 0

    @property
    def hops(self) -> hops.Settings:
        return settings.read(hops.Settings, self.env)

    @contextmanager
    def ingesting(self, **changed: str) -> Iterator[psutil.Popen]:
        """Ingestion runs meanwhile, with these settings changed."""
        log = self.state.log("bench-ingest").open("ab")
        command = [sys.executable, "-m", "services.ingest"]
        process = psutil.Popen(command, env=self.env | changed, cwd=settings.ROOT, stdout=log, stderr=log)
        try:
            yield process
        finally:
            log.close()
            ended(process)

    def fill(self, users: int) -> Filled:
        """
        Let so many new users in, as fast as ingestion goes, and wait until the brokers have them.

        Raises:
            NotUp: they did not, slow as the machine may be.
        """
        limit_s = FILL_S + users / SLOWEST
        before, self.pages = self.acknowledged(), self.pages + -(-users // PAGE)
        with self.ingesting(VIGIE_PAGES=str(self.pages), VIGIE_RATE="0") as process:
            until(lambda: self.acknowledged() > before, FILL_S, "the first page")
            began, first, started = time.monotonic(), self.acknowledged(), process.cpu_times()
            until(
                lambda: self.acknowledged() >= before + -(-users // PAGE) * PAGE, limit_s, f"{users} users in the topic"
            )
            seconds, used = time.monotonic() - began, process.cpu_times()
        there = self.acknowledged()
        whole = (
            (there - before) / (there - first) if there > first else 1.0
        )  # the interpreter's start and the first page are not measured
        cpu_s = used.user + used.system - started.user - started.system
        return Filled(there - before, seconds * whole, cpu_s * whole)

    def metrics(self, program: str) -> Iterable[Metric]:
        """What a program of ours says of itself now, as to Prometheus."""
        address = f"http://{self.setting('HOST')}:{self.setting(f'{program}_METRICS_PORT')}/metrics"
        return text_string_to_metric_families(requests.get(address, timeout=10).text)

    @contextmanager
    def held(self, names: Iterable[str]) -> Iterator[None]:
        """These programs stand still meanwhile; to start them anew would cost more than they do."""
        there = supervise.processes(self.state)
        pids = [there[name].pid for name in names if name in there]
        whole = [one for pid in pids if pid for one in tree(pid)]
        try:
            tell(whole, signal.SIGSTOP)
            while whole and not self._free():
                tell(whole, signal.SIGCONT)
                time.sleep(AGAIN_S)
                tell(whole, signal.SIGSTOP)
            yield
        finally:
            tell(whole, signal.SIGCONT)

    def _free(self) -> bool:
        """Whether nobody who stands still has the outbox's lock in his hands: the auditor closes it in each round."""
        try:
            hops.of_outbox(self.hops)
        except sqlite3.OperationalError:
            return False
        return True

    def costs(self) -> dict[str, Cost]:
        """What each supervised program has used up to now."""
        return {one.name: cost(one.pid) for one in supervise.processes(self.state).values() if one.pid}


def ended(process: psutil.Popen) -> None:
    """End it; one that does not by itself is killed."""
    process.terminate()
    try:
        process.wait(END_S)
    except psutil.TimeoutExpired:
        process.kill()


def until(so: Callable[[], bool], limit_s: float, what: str) -> None:
    """
    Wait until it is so.

    Raises:
        NotUp: it is not, after `limit_s`.
    """
    ends = time.monotonic() + limit_s
    while not so():
        if time.monotonic() > ends:
            raise NotUp(f"{what}: not within {limit_s:.0f} s")
        time.sleep(0.2)


def tree(pid: int) -> list[psutil.Process]:
    """A process and everything below it; empty when it is gone."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def tell(processes: Iterable[psutil.Process], sign: signal.Signals) -> None:
    """Send each a signal; that it has gone meanwhile is no error."""
    for one in processes:
        with suppress(psutil.Error):
            one.send_signal(sign)


def cost(pid: int) -> Cost:
    """What a process and everything below it have used; of those that have ended only what their parents know."""
    cpu_s, written, memory = 0.0, 0, 0
    for one in tree(pid):
        with suppress(psutil.Error):
            used = one.cpu_times()
            cpu_s += used.user + used.system + used.children_user + used.children_system
            memory += one.memory_info().rss
            written += one.io_counters().write_bytes if hasattr(one, "io_counters") else 0
    return Cost(cpu_s, written, memory)


def network() -> int:
    """Bytes that this machine's processes have sent each other up to now, headers included."""
    return sum(one.bytes_sent for name, one in psutil.net_io_counters(pernic=True).items() if name.startswith("lo"))


def ports(file: Mapping[str, str]) -> dict[str, str]:
    """Every port of the settings' file, moved out of the way of a system that runs on them."""
    moved = {key: int(value) for key, value in file.items() if key.endswith("_PORT") and value.isdigit()}
    return {key: str(number + 10_000 if number < 20_000 else number - 10_000) for key, number in moved.items()}


def given(changed: Mapping[str, str]) -> dict[str, str]:
    """
    What the engines are started with: the settings' file and what is `changed`.

    Settings of the caller's environment are left out: they are those of the system that somebody works with.
    """
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_") or key == ENV_FILE}
    return outer | ports(settings.files(outer)) | RUN | dict(changed)


@contextmanager
def running(**changed: str) -> Iterator[System]:
    """
    A system while the `with` lasts; only its engines, its simulator and its watchers run, the pipeline waits.

    Raises:
        NotUp: it did not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="vigie-bench-"))
    outer = given(changed) | {"VIGIE_STATE": str(folder)}
    state = State(folder)
    try:
        started = engines(outer, "up", UP_S)
        found = FIRST_USERS.search(started.stdout)
        if started.returncode or not found:
            raise NotUp(f"make up: {started.stdout[-2000:]}{started.stderr[-2000:]}")
        env = config.environ(outer, running=True)
        java = tools.java(env)
        assert java is not None, "it has started"  # noqa: S101
        made = System(programs.environment(env, state, java.home), state, float(found[1]))
        until(lambda: all_read(made), UP_S, "the first users in both stores")
        until(lambda: not archives.at_work(state), UP_S, "archives of classes")  # who measures has the machine alone
        supervise.stop(state, programs.INGEST, programs.SPARK, programs.DASHBOARD)
        made.read[LANES] = dict.fromkeys(("raw", "stats"), made.users)  # by the lanes of its start
        with made.sharing:
            yield made
    finally:
        with suppress(subprocess.TimeoutExpired):
            if engines(outer, "down", DOWN_S).returncode == 0:
                shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            print(f"it could not be taken down: VIGIE_STATE={folder} make down", file=sys.stderr)


def all_read(of: System) -> bool:
    """Whether both lanes have read everybody."""
    now = hops.ask(of.hops)[0]
    return (now.read_raw or 0) >= of.pages * PAGE <= (now.read_stats or 0)


def engines(env: Mapping[str, str], verb: str, limit_s: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engines", verb]
    return subprocess.run(
        command, cwd=settings.ROOT, env=dict(env), capture_output=True, text=True, timeout=limit_s, check=False
    )
