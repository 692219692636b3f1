"""
Fetch pages from the source into the outbox, and the outbox into Kafka, until told to stop.

A page is one trace, from the call to its commit; a sampled user's (a journey's) goes on to the stores.
"""

import argparse
import signal
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta
from opentelemetry.trace import Span

from observability import access, lock, logs, metrics, names, settings, telemetry, tracing
from services import canary, records
from services.contract import DEAD_LETTERS, USERS, Source, UserEvent
from services.outbox import Outbox, open_outbox
from services.outbox_file import OutboxFull, outbox_path
from services.publisher import Publisher
from services.source import (
    MAX_PAGE,
    UNLIMITED,
    Budget,
    Client,
    Cursor,
    SourceError,
    Timeouts,
    generation_of,
    of_source,
)

log = logs.Log(__name__)

DRAIN_S = 7.0  # after SIGTERM, for what is in the outbox; what is not out by then waits on disk for the next start
HALT_S, SPANS_S = 1.5, 1.0  # then for the publisher's end, and for the spans that still wait
TRACED_S = 10.0  # the time in which no more users are traced than VIGIE_TRACE_MAX_PER_S lets
CATCH_UP_S = 2.0  # of the wanted rate: what slower pages took is made up for, but after a long wait there is no flood
REPEATS = 5  # how often a page that brings nobody new is asked for again before it is believed

Positive = Annotated[float, Meta(gt=0)]


@dataclass(frozen=True)
class Settings(access.Kafka):
    """What `.env` says of the source, the budget, the outbox and the brokers."""

    state: Path
    source_url: Annotated[str, Meta(pattern=r"^https?://")]
    seed: Annotated[str, Meta(max_length=200)]
    rate: Annotated[float, Meta(ge=0)]
    page_size: Annotated[int, Meta(ge=1, le=5000)]
    pages: Annotated[int, Meta(ge=0)]
    nationalities: str
    budget_users: Annotated[int, Meta(ge=0)]
    budget_window_s: Positive
    connect_timeout_s: Positive
    read_timeout_s: Positive
    call_timeout_s: Positive
    outbox_max_mb: Annotated[int, Meta(ge=1)]
    outbox_seen_users: Annotated[int, Meta(ge=0)]
    max_record_bytes: Annotated[int, Meta(ge=4096, le=900_000)]
    trace_share: Annotated[float, Meta(ge=0, le=1)]
    trace_max_per_s: Annotated[float, Meta(ge=0.1, le=1e6)]
    canary_s: Annotated[float, Meta(ge=0)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.page_size > self.budget_users > 0:
            raise settings.WrongSetting(
                f"VIGIE_PAGE_SIZE={self.page_size}: no page fits into VIGIE_BUDGET_USERS={self.budget_users}; "
                "ask for fewer users a page, or set the budget to 0 for none"
            )


INSERT = {"db.system.name": "sqlite", "db.operation.name": "INSERT"}


class Fetcher:
    """Fetches one page after another at the wanted rate; each is a trace."""

    def __init__(self, wanted: Settings, outbox: Outbox, client: Client, stopping: threading.Event) -> None:
        self.wanted, self.outbox, self.client, self.stopping = wanted, outbox, client, stopping
        self.traced = Budget(ceil(wanted.trace_max_per_s * TRACED_S), TRACED_S, clock=time.monotonic)
        self.repeats = 0
        self.paused = metrics.gauge(names.SOURCE_PAUSED).labels("outbox_full")
        self.last_page, self.done = metrics.gauge(names.SOURCE_LAST_PAGE), metrics.gauge(names.SOURCE_DONE)
        self.last_page.set(max((at for at, _ in outbox.calls(since=0)), default=0))
        self.repeated = metrics.counter(names.SOURCE_REPEATS)
        self.rejections = {kind: metrics.counter(names.REJECTIONS).labels(kind) for kind in records.KINDS}

    def run(self) -> None:
        """Fetch until `stopping`, or until VIGIE_PAGES pages are kept; then wait for `stopping`."""
        seed, pace = self.outbox.seed(self.wanted.seed, host(self.wanted)), Pace(self.wanted.rate)
        while not self.stopping.is_set():
            cursor = next_cursor(self.outbox, seed, self.wanted)
            self.done.set(cursor is None)
            if cursor is None:
                log.info("every page that was asked for is fetched", pages=self.wanted.pages, seed=seed)
                self.stopping.wait()
                return
            if not self._page(cursor):
                self.stopping.wait(1.0)
                continue
            self.stopping.wait(pace.wait_s(cursor.page_size))

    def _page(self, cursor: Cursor) -> bool:
        """Fetch and keep one page; False if it has to be asked for again."""
        self.client.wait_for_budget(cursor.page_size)
        if self.stopping.is_set():
            return False
        with tracing.span(names.PAGE, {"vigie.page": cursor.page}) as page:
            try:
                return self._keep(cursor, self.client.page(cursor), page)
            except SourceError as error:
                tracing.failed(page, error)
                if not self.stopping.is_set():
                    log.warning("no page", page=cursor.page, reason=f"{type(error).__name__}: {error}")
            except OutboxFull as error:
                tracing.failed(page, error)
                self.paused.set(1)
                log.warning("fetching pauses: no room in the outbox", reason=str(error))
            return False

    def _keep(self, cursor: Cursor, found: list[bytes], page: Span) -> bool:
        """Keep what a page brought; False if it is to be asked for again, because it brings nobody new."""
        source = Source(cursor.seed, cursor.page, cursor.page_size)
        users, rejected = records.sort(found, source, datetime.now(UTC), self.wanted.max_record_bytes)
        if not rejected and self.repeats < REPEATS and self.outbox.only_known(users):
            self.repeats += 1
            self.repeated.inc()
            page.set_attribute("vigie.known", len(users))
            log.warning("a page of known users: asking again", page=cursor.page, time=self.repeats)
            return False
        trace = tracing.traceparent(tracing.current())
        journeys = self._journeys(users) if trace else set()
        if journeys:
            page.set_attribute("vigie.journey", "true")
        with tracing.span(names.KEEP, INSERT | {"db.operation.batch.size": len(users) + len(rejected)}):
            kept = self.outbox.keep(cursor, users, rejected, trace, journeys)
        brought = {"vigie.users": kept, "vigie.known": len(users) - kept, "vigie.rejected": len(rejected)}
        page.set_attributes(brought)
        self.traced.spend(len(journeys))
        self.repeats = 0
        self.paused.set(0)
        self.last_page.set_to_current_time()
        for kind, n in Counter(one.kind for one in rejected).items():
            self.rejections[kind].inc(n)
        log.info("page kept", page=cursor.page, users=kept, known=len(users) - kept, rejected=len(rejected))
        for one in rejected:
            log.warning("user set aside", page=cursor.page, reason=one.reason)
        return True

    def _journeys(self, users: Sequence[UserEvent]) -> set[str]:
        """The ids of those whose whole way is traced: the share, or as many of them as there is room for."""
        found = [one.user_id for one in users if is_journey(one.user_id, self.wanted.trace_share)]
        return set(found[: self.traced.left()])


class Pace:
    """When the next page is due at `rate` users a second (0: at once)."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock, self._due = rate, clock, clock()

    def wait_s(self, users: int) -> float:
        """Seconds until the next page is due, after one of so many users."""
        if not self._rate:
            return 0.0
        now = self._clock()
        self._due = max(self._due + users / self._rate, now - CATCH_UP_S)
        return max(0.0, self._due - now)


def next_cursor(outbox: Outbox, seed: str, wanted: Settings) -> Cursor | None:
    """Where to go on; a seed without a page left is followed by `seed.1.` and so on; None at the end of VIGIE_PAGES."""
    for generation in range(MAX_PAGE):
        name = generation_of(seed, generation)
        cursor = outbox.cursor(name, wanted.page_size, wanted.nationalities)
        if wanted.pages and generation * MAX_PAGE + cursor.page > wanted.pages:
            return None
        if cursor.page <= MAX_PAGE:
            return cursor
    return None


def is_journey(user_id: str, share: float) -> bool:
    """Whether the user is one of the share (0 to 1) whose whole way may be traced: the same, whenever they come."""
    return zlib.crc32(user_id.encode()) < share * 2**32


def of_outbox(outbox: Outbox) -> Iterator[metrics.Sample]:
    """What is read of the outbox at every scrape; its counters are as old as its file."""
    counts = outbox.counts()
    users, letters = {"topic": USERS}, {"topic": DEAD_LETTERS}
    yield names.USERS_FETCHED, {}, counts.fetched
    yield names.USERS_KNOWN, {}, counts.duplicates
    yield names.USERS_REJECTED, {}, counts.rejected
    yield names.USERS_ACKNOWLEDGED, users, counts.acknowledged
    yield names.USERS_ACKNOWLEDGED, letters, counts.acknowledged_dead
    yield names.OUTBOX_ROWS, users, counts.waiting + counts.waiting_canaries
    yield names.OUTBOX_ROWS, letters, counts.waiting_dead
    yield names.OUTBOX_BYTES, {}, outbox.bytes_waiting()
    yield names.OUTBOX_MAX_BYTES, {}, outbox.max_bytes
    yield names.OUTBOX_AGE, {}, outbox.oldest_age_s()


def host(wanted: Settings) -> str:
    """The source's, by any port: a wire's is another than the simulator's own."""
    return urlsplit(wanted.source_url).hostname or ""


def run(wanted: Settings, stopping: threading.Event) -> int:
    """Ingest until `stopping`; 0 after a drained or timely stop, 1 if publishing failed in a way nobody foresaw."""
    path = outbox_path(wanted.state)
    outbox = open_outbox(path, wanted.outbox_max_mb * 2**20, wanted.outbox_seen_users)
    outbox.seed(wanted.seed, host(wanted))
    metrics.read_at_scrape(lambda: of_outbox(outbox))
    budget_users = wanted.budget_users or UNLIMITED
    budget = Budget(budget_users, wanted.budget_window_s, outbox.calls(time.time() - wanted.budget_window_s))
    timeouts = Timeouts(wanted.connect_timeout_s, wanted.read_timeout_s, wanted.call_timeout_s)
    client = Client(wanted.source_url, timeouts, budget, stopping)
    metrics.read_at_scrape(lambda: of_source(client))
    fetcher = Fetcher(wanted, outbox, client, stopping)
    halting, broken = threading.Event(), threading.Event()
    publisher = Publisher(outbox, wanted, halting, wanted.nationalities)

    def publish() -> None:
        try:
            publisher.run()
        except BaseException:
            broken.set()
            raise
        finally:
            publisher.looked_back.set()
            stopping.set()

    thread = threading.Thread(target=publish, name="publisher", daemon=True)
    thread.start()
    if wanted.canary_s:
        threading.Thread(
            target=canary.run, args=(outbox, wanted.canary_s, stopping), name="canary", daemon=True
        ).start()
    if outbox.is_new():
        log.info("a new outbox: looking first at what the topics hold", outbox=str(path))
        publisher.looked_back.wait()
    if not stopping.is_set():
        fetcher.run()
    ends = time.monotonic() + DRAIN_S
    while thread.is_alive() and outbox.waiting(after=0, most=1) and time.monotonic() < ends:
        time.sleep(0.05)
    halting.set()
    thread.join(timeout=HALT_S)
    counts = outbox.counts()
    waiting = counts.waiting + counts.waiting_dead + counts.waiting_canaries
    log.info("stopped", waiting=waiting, acknowledged=counts.acknowledged)
    return 1 if broken.is_set() else 0


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m services.ingest", description=__doc__).parse_args(argv)
    try:
        env = settings.environ()
        wanted = settings.read(Settings, env)
        telemetry.start("ingest", env)
    except settings.WrongSetting as error:
        print(error, file=sys.stderr)
        return 2
    stopping = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stopping.set())
    try:
        path = outbox_path(wanted.state)
        why = f"{path}: another ingestion works on it; two would send every user twice"
        with lock.alone(path.with_name(path.name + ".lock"), why):
            return run(wanted, stopping)
    except (lock.Held, OutboxFull) as error:
        log.error("ingestion cannot start", reason=str(error))
        return 1
    finally:
        tracing.stop(SPANS_S)


if __name__ == "__main__":
    sys.exit(main())
