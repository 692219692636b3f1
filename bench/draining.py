"""
How fast a backlog comes into the stores: the lanes, the limits of their parts, the peers, telemetry on and off.

All readers read the same users, in turn, round after round, each alone: the others are held.
"""

import time
from contextlib import ExitStack
from dataclasses import replace

from bench import limits
from bench.notebook import Notebook
from bench.readers import LANES, PEERS, WARM_S, Drained, Kind, Reader, reading, warm
from bench.result import OURS
from bench.system import PAGE, NotUp, System
from engines import programs
from spark.contract import RAW, STATS

OFF, HELD = "telemetry off", "watchers held"
RATE, CPU, MEMORY, BYTES = "users/s", "us/user", "MB", "bytes/user"
QUIET = (
    ("VIGIE_OTLP_ENDPOINT", "off"),
    ("VIGIE_TRACE_SHARE", "0"),
)
WATCHERS = (programs.PROMETHEUS, programs.ALERTMANAGER, programs.JAEGER, programs.AUDITOR, programs.EXPORTER)


def parts_of_raw(of: System, book: Notebook) -> None:
    """The raw lane, and what reading a topic and inserting into MongoDB could do at most."""
    parts(of, book, RAW)


def parts_of_stats(of: System, book: Notebook) -> None:
    """The stats lane, and what Spark's reading and writing into Cassandra could do at most."""
    parts(of, book, STATS)


def parts(of: System, book: Notebook, lane: str) -> None:
    """`drained` is what both lanes together reach: to be held against the slowest limit."""
    size = book.size
    sent = limits.messages(size.messages)
    with warm(of, size.warm) as lanes:
        for n in range(size.rounds):
            users = of.fill(size.backlog).users
            took = lanes.drain(users, WARM_S)
            book.note(OURS, "drained", took.both, RATE, at=n)
            book.note(OURS, "drained, this lane", took.rates[lane], RATE, at=n)
            phases(book, took, lane, n)
            if lane == RAW:
                book.note("limit: kafka-python reads", "drained", limits.python_consumes(of, users), RATE, at=n)
                book.note("limit: JVM client reads", "drained", limits.java_consumes(of, users), RATE, at=n)
                book.note("limit: MongoDB inserts", "drained", limits.mongodb_inserts(of, sent), RATE, at=n)
            else:
                if n == 0:  # two starts of Spark, for what is ten times as fast as the lane
                    plain, decoded = limits.spark_reads(of, users)
                    book.note("limit: Spark reads", "drained", plain, RATE, at=n)
                    book.note("limit: Spark reads, Python decodes", "drained", decoded, RATE, at=n)
                book.note("limit: Cassandra writes", "drained", limits.cassandra_writes(of, sent), RATE, at=n)


def phases(book: Notebook, took: Drained, lane: str, n: int) -> None:
    """Where the lane's time went, by Spark's phases."""
    for phase in ("addBatch", "walCommit", "commitOffsets", "latestOffset", "queryPlanning", "triggerExecution"):
        ms = sum(mark.ms.get(phase, 0) for mark in took.batches if mark.lane == lane)
        book.note(f"phase {phase}", "of 1,000 users", ms / max(1, took.users) * 1000, "ms", at=n)


def peers(of: System, book: Notebook) -> None:
    """Both stores, by ours and by every peer that is installed."""
    size = book.size
    with ExitStack() as stack:
        readers: list[Reader] = []
        for n, kind in enumerate((*PEERS, LANES)):
            if n == 1:
                of.fill(size.warm)  # the first, row by row, is too slow to read these before it is measured
            if kind.absent:
                book.absent[kind.name] = kind.absent
                continue
            limit_s = max(25.0, size.slow_s / 2) if kind.slow else WARM_S  # it has started, and has a batch under way
            try:
                started = warm(of, PAGE) if kind is LANES else reading(kind, of, limit_s)
                readers.append(stack.enter_context(started))
            except NotUp as error:
                left_out(book, kind, error)
                continue
            book.say(f"{kind.name} has read {min(readers[-1].done().values()):,} users and waits for its turn")
        for n in range(size.rounds):
            users = of.fill(size.backlog).users
            first = (n - 1) % len(readers)  # ours; who comes first follows the filling, the others each other
            for reader in [*readers[first:], *readers[:first]]:
                if reader.kind.slow and n:
                    continue  # once is enough to see how far it is from the others
                try:
                    took = reader.drain(users, size.slow_s if reader.kind.slow else WARM_S)
                except NotUp as error:
                    left_out(book, reader.kind, error)
                    readers.remove(reader)
                    continue
                told(book, reader.kind.name, took, n)


def left_out(book: Notebook, kind: Kind, error: NotUp) -> None:
    """
    Write down why a peer has no figures.

    Raises:
        NotUp: it is ours that has none.
    """
    if kind is LANES:
        raise error
    book.absent[kind.name] = str(error)


def told(book: Notebook, name: str, took: Drained, n: int, case: str = "") -> None:
    """Write down how fast a backlog was read, and what a user of it took."""
    if took.users < took.wanted:
        book.note(name, "in time", 100 * took.users / took.wanted, "% of the backlog", at=n, case=case)
    if not took.users:  # one sink has nothing yet
        for sink, rate in took.rates.items():
            book.note(name, f"drained, {sink}", rate, RATE, at=n, case=case)
        return
    book.note(name, "drained", took.both, RATE, at=n, case=case)
    book.note(name, "processor time", took.cpu_us, CPU, at=n, case=case)
    book.note(name, "memory", took.reader.memory / 2**20, MEMORY, at=n, case=case)
    written = took.reader.written + sum(one.written for one in took.engines.values())
    book.note(name, "written to disk", written / took.users, BYTES, at=n, case=case)
    book.note(name, "over the network", took.network / took.users, BYTES, at=n, case=case)
    if took.state is not None:
        rows, memory = took.state
        book.note(name, "state", rows, "rows", at=n, case=case)
        book.note(name, "state, memory", memory / 2**20, MEMORY, at=n, case=case)


def by_program(book: Notebook, name: str, took: Drained, n: int, case: str = "") -> None:
    for program, used in {**took.engines, "lanes": took.reader}.items():
        book.note(name, f"processor time, {program}", used.cpu_s / max(1, took.users) * 1e6, CPU, at=n, case=case)


def traces(of: System, book: Notebook) -> None:
    """The lanes started anew, in turn with traces and without and all watchers held; their own metrics stay on."""
    variants(of, book, (LANES, replace(LANES, name=OFF, changed=QUIET)))


def watched(of: System, book: Notebook) -> None:
    """
    The same lanes, with traces, beside everything that watches and beside all of it held: drains so close together
    that the machine's own speed is much the same in both.
    """
    size = book.size
    with warm(of, size.warm) as lanes:
        for n in range(size.rounds):
            for name in (OURS, HELD) if n % 2 == 0 else (HELD, OURS):
                with of.held(WATCHERS if name == HELD else ()):
                    users = of.fill(size.backlog).users
                    took = lanes.drain(users, WARM_S)
                told(book, name, took, n, "the same lanes")
                by_program(book, name, took, n, "the same lanes")


def at_rest(of: System, book: Notebook) -> None:
    """
    Processors that engines and watchers take while nothing comes, with and without watchers: the difference is what
    these take and what they ask of the engines, much closer than two drains on a busy machine can tell it.
    """
    for n in range(book.size.rounds):
        for name in (OURS, HELD) if n % 2 == 0 else (HELD, OURS):
            with of.held(WATCHERS if name == HELD else ()):
                time.sleep(book.size.settle_s)  # what had waited meanwhile
                before, began = of.costs(), time.monotonic()
                time.sleep(book.size.rest_s)
                used = sum(one.less(before[program]).cpu_s for program, one in of.costs().items())
                seconds = time.monotonic() - began
            book.note(name, "processors at rest", 100 * used / seconds, "% of one", at=n)


def trial(of: System, book: Notebook) -> None:
    """The lanes as they are, and as somebody wants to try them."""
    variants(of, book, (LANES, book.tried))


def variants(of: System, book: Notebook, kinds: tuple[Kind, ...]) -> None:
    """The lanes with different settings, in turn, each started anew on the same checkpoints."""
    of.sharing.close()  # or they would read what these shall begin with
    size = book.size
    for n in range(size.turns):
        for kind in kinds if n % 2 == 0 else kinds[::-1]:
            with of.held(WATCHERS if kind.changed == QUIET else ()):
                of.fill(size.warm)
                with reading(kind, of, WARM_S) as reader:
                    users = of.fill(size.backlog).users
                    took = reader.drain(users, WARM_S)
            told(book, kind.name, took, n)
            for lane, rate in took.rates.items():
                book.note(kind.name, f"drained, {lane}", rate, RATE, at=n)
            by_program(book, kind.name, took, n)
