"""
Compares what every hop has counted, always: a user that is lost is missed within four minutes, and where.

A round asks each part through a connection that is kept. A part that does not answer is told as silent, the checks that
need it claim nothing anew and take nothing back meanwhile, and the others go on.
"""

import argparse
import logging
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from kafka import KafkaConsumer
from pymongo import MongoClient

from observability import logs, metrics, names, settings, telemetry
from services import counters, gaps, hops, topics
from services.counters import PATIENCE_S, STORE_S, Newest
from services.gaps import Reading, Window
from services.outbox_file import outbox_path
from services.rounds import MOST_LEFT, Question, Unanswered
from spark.contract import Ledger

log = logs.Log(__name__)

EVERY_S = 5.0
NOT_ASKED = "not asked yet"
OUTBOX, KAFKA, MONGODB, CASSANDRA = PARTS = ("outbox", "kafka", "mongodb", "cassandra")

A = TypeVar("A")


@dataclass(frozen=True)
class Settings(hops.Settings):
    """Where the hops are, and how long users are kept."""

    cassandra_consistency: str
    users_days: int = field(metadata={"key": "VIGIE_USERS_RETENTION_DAYS"})


@dataclass
class Seen:
    """What is known now; read at every scrape."""

    counts: dict[str, int] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=lambda: dict.fromkeys(PARTS, NOT_ASKED))  # part -> why
    newest: dict[str, Newest] = field(default_factory=dict)  # store -> what it last said
    last_round: float = 0.0


class Auditor:
    """Asks, compares, remembers."""

    def __init__(self, wanted: Settings) -> None:
        self.seen = Seen()
        path, stores = outbox_path(wanted.state), counters.OfStores()
        self._outbox = Question(OUTBOX, lambda: path, counters.of_outbox, lambda _: None)
        self._kafka = Question(KAFKA, lambda: topics.consumer(wanted), counters.of_kafka, KafkaConsumer.close)
        self._mongo = Question(MONGODB, lambda: hops.mongo(wanted, STORE_S), stores.mongo, MongoClient.close)
        self._cassandra = Question(
            CASSANDRA,
            lambda: hops.cassandra(wanted, STORE_S, wanted.cassandra_consistency),
            stores.cassandra,
            lambda session: session.cluster.shutdown(),
        )
        left_out = {gaps.STORED} if wanted.users_days else set()
        self._windows = {check: Window() for check in gaps.CHECKS if check not in left_out}
        self._outbox_id = ""
        self._raw: Ledger | None = None
        self._ahead = 0
        self._silent_at = -math.inf  # when a part last did not answer

    def run(self) -> None:
        """Compare for ever; ends the process when too many questions were never answered."""
        questions = (self._outbox, self._kafka, self._mongo, self._cassandra)
        while max(one.left for one in questions) < MOST_LEFT:
            began = time.monotonic()
            self.judge(self.read(), time.monotonic())
            took = time.monotonic() - began
            metrics.histogram(names.AUDIT_ROUND_SECONDS).observe(took)
            time.sleep(max(0.0, EVERY_S - took))
        log.error("a part hangs again and again: starting anew", parts={one.name: one.left for one in questions})

    def read(self) -> Reading:
        """One round of questions, in the order that services.gaps needs."""
        silent: dict[str, str] = {}
        stores_by = time.monotonic() + STORE_S
        self._mongo.begin()
        self._cassandra.begin()
        mongo, cassandra = answer(self._mongo, stores_by, silent), answer(self._cassandra, stores_by, silent)
        before = ask(self._outbox, silent)
        kafka = ask(self._kafka, silent)
        after = ask(self._outbox, silent)
        for store, said in ((MONGODB, mongo), (CASSANDRA, cassandra)):
            if said:
                self.seen.newest[store] = said[1]
        if mongo:
            self._raw, self._ahead = mongo[0].after or self._raw, mongo[0].ahead
        self._tell_silence(silent)
        return Reading(
            mongo[0] if mongo else None,
            cassandra[0] if cassandra else None,
            before,
            kafka,
            after,
            self._raw,
            self._ahead,
        )

    def judge(self, reading: Reading, at: float) -> None:
        """
        Compare what was read at the moment `at` (seconds), and say what is claimed now.

        A claim is made smaller, or taken back, only after all parts have answered for a whole window. Of a check that
        has not been seen for as long, nothing is said: an auditor that has just begun does not say that all is well.
        """
        if reading.before and reading.before.id != self._outbox_id:
            if self._outbox_id:
                self._begin_anew()
            self._outbox_id = reading.before.id
        if None in (reading.mongo, reading.cassandra, reading.before, reading.kafka, reading.after):
            self._silent_at = at
        self.seen.counts |= gaps.counts(reading)
        for check, window in self._windows.items():
            if (found := gaps.CHECKS[check](reading)) is not None:
                self.seen.in_flight[check] = found.now
                gap = window.add(at, found)
                if gap is None:
                    continue
                if abs(gap) >= abs(self.seen.gaps.get(check, 0)) or at - self._silent_at >= gaps.SPAN_S:
                    self._tell_gap(check, gap, found.now)
        if not self.seen.silent:
            self.seen.last_round = time.time()

    def _begin_anew(self) -> None:
        """Another outbox: no claim that compares with the earlier one is of this one."""
        for check in gaps.OF_OUTBOX:
            self._windows[check].clear()
            self._tell_gap(check, 0, None)

    def _tell_gap(self, check: str, gap: int, now: int | None) -> None:
        before = self.seen.gaps.get(check, 0)
        if gap and gap != before:
            said = "users are missing" if gap > 0 else "there are too many users"
            log.warning(said, check=check, users=abs(gap), difference=now, counts=dict(self.seen.counts))
        elif before and not gap and now is not None:
            log.info("no gap any more", check=check, before=before)
        self.seen.gaps[check] = gap

    def _tell_silence(self, silent: dict[str, str]) -> None:
        told = {part for part, reason in self.seen.silent.items() if reason != NOT_ASKED}
        for part in sorted(silent.keys() - told):
            log.warning("does not answer", part=part, reason=silent[part])
        for part in sorted(self.seen.silent.keys() - silent.keys()):
            log.info("answers", part=part)
        self.seen.silent = silent


def ask(question: Question[Any, A], silent: dict[str, str]) -> A | None:
    question.begin()
    return answer(question, time.monotonic() + PATIENCE_S, silent)


def answer(question: Question[Any, A], ends: float, silent: dict[str, str]) -> A | None:
    """What was answered; None, with the reason in `silent`, for nothing."""
    try:
        return question.answer(ends)
    except Unanswered as error:
        silent[question.name] = str(error)
        return None


def samples(seen: Seen) -> Iterator[metrics.Sample]:
    """What is known, as metrics; ages are of now, so that they grow while a store is silent."""
    for hop, n in list(seen.counts.items()):
        yield names.AUDIT_COUNT, {"hop": hop}, n
    for check, gap in list(seen.gaps.items()):
        yield names.AUDIT_GAP, {"check": check}, gap
    for check, n in list(seen.in_flight.items()):
        yield names.AUDIT_IN_FLIGHT, {"check": check}, n
    for part in PARTS:
        yield names.AUDIT_SILENT, {"part": part}, part in seen.silent
    yield names.AUDIT_LAST_ROUND, {}, seen.last_round
    now = datetime.now(UTC)
    for store, newest in list(seen.newest.items()):
        if newest.canary_sent:
            yield names.CANARY_AGE, {"store": store}, (now - newest.canary_sent).total_seconds()
            if newest.canary_there:
                took = (newest.canary_there - newest.canary_sent).total_seconds()
                yield names.CANARY_SECONDS, {"store": store}, took
        if newest.user:
            yield names.NEWEST_USER_AGE, {"store": store}, (now - newest.user).total_seconds()


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m services.auditor", description=__doc__).parse_args(argv)
    stopping = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stopping.set())
    try:
        env = settings.environ()
        wanted = settings.read(Settings, env)
        telemetry.start("auditor", env)
    except settings.WrongSetting as error:
        print(error, file=sys.stderr)
        return 2
    hops.hush()
    if wanted.users_days:
        log.info("users are removed after a while: what is stored is not compared", days=wanted.users_days)
    auditor = Auditor(wanted)
    metrics.histogram(names.AUDIT_ROUND_SECONDS)
    metrics.read_at_scrape(lambda: samples(auditor.seen))
    metrics.read_at_scrape(lambda: [(names.STATE_DISK_FREE, {}, shutil.disk_usage(wanted.state).free)])
    rounds = threading.Thread(target=auditor.run, name="rounds", daemon=True)
    rounds.start()
    while rounds.is_alive() and not stopping.wait(0.5):
        pass
    log.info("stopped", asked=stopping.is_set())
    logging.shutdown()
    os._exit(0 if stopping.is_set() else 1)  # a thread that still waits for a store must not hold the process


if __name__ == "__main__":
    sys.exit(main())
