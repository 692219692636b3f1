"""Kafka as its clients see it, for Prometheus: a look at all of it every EVERY_S seconds (services.cluster)."""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle

from kafka import TopicPartition

from observability import access, logs, metrics, names, settings, telemetry
from services.cluster import Picture, connect, disconnect, look, silent
from services.rounds import MOST_LEFT, Question, Unanswered

log = logs.Log(__name__)

EVERY_S = 5.0
ROUND_S = 12.0  # for a whole round


@dataclass(frozen=True)
class Settings(access.Kafka):
    """Where the brokers are, and how many there should be."""

    brokers: int


def samples(seen: Picture, expected: int) -> Iterator[metrics.Sample]:
    """The picture as metrics, now."""
    yield names.KAFKA_BROKERS, {}, seen.brokers
    yield names.KAFKA_BROKERS_EXPECTED, {}, expected
    yield names.EXPORTER_LAST_ROUND, {}, seen.at
    for topic, counts in seen.health.items():
        for name, n in counts.items():
            yield names.KAFKA_PARTITIONS, {"topic": topic, "health": name}, n
    for metric, places_ in ((names.KAFKA_BEGIN_OFFSET, seen.begins), (names.KAFKA_END_OFFSET, seen.ends)):
        for tp, offset in places_.items():
            yield metric, of_place(tp), offset
    for group, found in seen.groups.items():
        for tp, offset in found.items():
            yield names.GROUP_OFFSET, {"group": group} | of_place(tp), offset
    for group, behind in seen.behind.items():
        for tp, one in behind.items():
            yield names.GROUP_LAG_RECORDS, {"group": group} | of_place(tp), one.records
            yield names.GROUP_LAG_SECONDS, {"group": group} | of_place(tp), one.seconds


def of_place(tp: TopicPartition) -> dict[str, str]:
    return {"topic": tp.topic, "partition": str(tp.partition)}


class Exporter:
    """Looks again and again, and keeps the last picture."""

    def __init__(self, wanted: Settings) -> None:
        self.wanted = wanted
        self.seen = Picture()
        self._brokers = [replace(wanted, kafka_bootstrap=one) for one in wanted.kafka_bootstrap.split(",")]
        turns = cycle(self._brokers)
        self._kafka = Question(
            "kafka", lambda: connect(next(turns)), lambda clients: look(clients, self.seen), disconnect
        )

    def run(self) -> None:
        """Look for ever; ends the process when too many questions were never answered."""
        while self._kafka.left < MOST_LEFT:
            began = time.monotonic()
            self.round()
            time.sleep(max(0.0, EVERY_S - (time.monotonic() - began)))
        log.error("the brokers' client hangs again and again: starting anew", threads=self._kafka.left)

    def round(self) -> None:
        """One look; one that is not answered is put anew, with new clients, as often as there are brokers."""
        began, before = time.monotonic(), self.seen
        for left in range(len(self._brokers), -1, -1):
            self._kafka.begin()
            try:
                self.seen = self._kafka.answer(time.monotonic() + ROUND_S)
                break
            except Unanswered as error:
                if not left:
                    self.seen = silent(before, str(error))
        metrics.histogram(names.EXPORTER_ROUND_SECONDS).observe(time.monotonic() - began)
        if self.seen.silent:
            metrics.counter(names.EXPORTER_ERRORS).inc()
            self._kafka.drop()
        tell(before, self.seen)


def tell(before: Picture, seen: Picture) -> None:
    """Log what has changed."""
    if seen.silent and not before.silent:
        log.warning("not all was answered", brokers=seen.brokers, reason=seen.silent)
    elif seen.at and (before.silent or not before.at) and not seen.silent:
        log.info("the brokers answer", brokers=seen.brokers, topics=len(seen.health), groups=sorted(seen.groups))
    elif seen.brokers != before.brokers:
        log.info("brokers have come or gone", brokers=seen.brokers, before=before.brokers)


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m services.exporter", description=__doc__).parse_args(argv)
    stopping = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stopping.set())
    try:
        env = settings.environ()
        wanted = settings.read(Settings, env)
        telemetry.start("exporter", env)
    except settings.WrongSetting as error:
        print(error, file=sys.stderr)
        return 2
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # every broker that is gone would be an error a second
    exporter = Exporter(wanted)
    metrics.counter(names.EXPORTER_ERRORS)
    metrics.histogram(names.EXPORTER_ROUND_SECONDS)
    metrics.read_at_scrape(lambda: samples(exporter.seen, wanted.brokers))
    rounds = threading.Thread(target=exporter.run, name="rounds", daemon=True)
    rounds.start()
    while rounds.is_alive() and not stopping.wait(0.5):
        pass
    log.info("stopped", asked=stopping.is_set())
    logging.shutdown()
    os._exit(0 if stopping.is_set() else 1)  # a thread that still waits for a broker must not hold the process


if __name__ == "__main__":
    sys.exit(main())
