"""Fetch pages from the source into the outbox, and the outbox into Kafka, until told to stop."""

import argparse
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from observability import lock, logs, settings
from services import records
from services.contract import Source
from services.outbox import Outbox, OutboxFull, open_outbox
from services.publisher import Publisher
from services.source import MAX_PAGE, Budget, Client, Cursor, SourceError, Timeouts, generation_of

log = logs.Log(__name__)

DRAIN_S = 8.0  # after SIGTERM, for what is in the outbox; what is not out by then waits on disk for the next start
REPEATS = 5  # how often a page that brings nobody new is asked for again before it is believed

Positive = Annotated[float, Meta(gt=0)]


@dataclass(frozen=True)
class Settings:
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
    bootstrap: str = field(metadata={"key": "VIGIE_KAFKA_BOOTSTRAP"})


class Fetcher:
    """Fetches one page after another at the wanted rate."""

    def __init__(self, wanted: Settings, outbox: Outbox, client: Client, stopping: threading.Event) -> None:
        self.wanted, self.outbox, self.client, self.stopping = wanted, outbox, client, stopping
        self.seed = outbox.seed(wanted.seed)
        self.repeats = 0

    def run(self) -> None:
        """Fetch until `stopping`, or until VIGIE_PAGES pages are kept; then wait for `stopping`."""
        due = time.monotonic()
        while not self.stopping.is_set():
            cursor = next_cursor(self.outbox, self.seed, self.wanted)
            if cursor is None:
                log.info("every page that was asked for is fetched", pages=self.wanted.pages, seed=self.seed)
                self.stopping.wait()
                return
            if not self._page(cursor):
                self.stopping.wait(1.0)
                continue
            if self.wanted.rate:
                due = max(due + cursor.page_size / self.wanted.rate, time.monotonic())
                self.stopping.wait(max(0.0, due - time.monotonic()))

    def _page(self, cursor: Cursor) -> bool:
        """Fetch and keep one page; False if it has to be asked for again."""
        try:
            found = self.client.page(cursor)
        except SourceError as error:
            if not self.stopping.is_set():
                log.warning("no page", page=cursor.page, reason=f"{type(error).__name__}: {error}")
            return False
        source = Source(cursor.seed, cursor.page, cursor.page_size)
        users, rejected = records.sort(found, source, datetime.now(UTC), self.wanted.max_record_bytes)
        if not rejected and self.repeats < REPEATS and self.outbox.only_known(users):
            self.repeats += 1
            log.warning("a page of known users: asking again", page=cursor.page, time=self.repeats)
            return False
        try:
            kept = self.outbox.keep(cursor, users, rejected)
        except OutboxFull as error:
            log.warning("fetching pauses: no room in the outbox", reason=str(error))
            return False
        self.repeats = 0
        log.info("page kept", page=cursor.page, users=kept, known=len(users) - kept, rejected=len(rejected))
        for one in rejected:
            log.warning("user set aside", page=cursor.page, reason=one.reason)
        return True


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


def outbox_path(state: Path) -> Path:
    return state / "data" / "ingest" / "outbox.sqlite"


def run(wanted: Settings, stopping: threading.Event) -> int:
    """Ingest until `stopping`; 0 after a drained or timely stop, 1 if publishing failed in a way nobody foresaw."""
    path = outbox_path(wanted.state)
    outbox = open_outbox(path, wanted.outbox_max_mb * 2**20, wanted.outbox_seen_users)
    outbox.seed(wanted.seed)
    budget_users = wanted.budget_users or sys.maxsize
    budget = Budget(budget_users, wanted.budget_window_s, outbox.calls(time.time() - wanted.budget_window_s))
    timeouts = Timeouts(wanted.connect_timeout_s, wanted.read_timeout_s, wanted.call_timeout_s)
    halting, broken = threading.Event(), threading.Event()
    publisher = Publisher(outbox, wanted.bootstrap, halting)

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
    if outbox.is_new():
        log.info("a new outbox: looking first at what the topics hold", outbox=str(path))
        publisher.looked_back.wait()
    if not stopping.is_set():
        Fetcher(wanted, outbox, Client(wanted.source_url, timeouts, budget, stopping), stopping).run()
    ends = time.monotonic() + DRAIN_S
    while thread.is_alive() and outbox.waiting(after=0, most=1) and time.monotonic() < ends:
        time.sleep(0.05)
    halting.set()
    thread.join(timeout=2)
    counts = outbox.counts()
    log.info("stopped", waiting=counts.waiting + counts.waiting_dead, acknowledged=counts.acknowledged)
    return 1 if broken.is_set() else 0


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m services.ingest", description=__doc__).parse_args(argv)
    logs.start("ingest")
    try:
        wanted = settings.read(Settings, settings.environ())
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


if __name__ == "__main__":
    sys.exit(main())
