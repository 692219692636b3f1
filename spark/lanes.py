"""
Run both lanes, each with its own query, checkpoint and restart, in one Spark application, until told to stop.

A lane that fails starts again with backoff while the other goes on. `--set-checkpoint-aside LANE` is the way back from
a damaged checkpoint: the lane then reads users.raw again from its oldest record. MongoDB takes each user once, and a
minute that is summed again is overwritten. When the topic has begun to forget, the stats lane sums what is left of its
oldest minutes only: `make rebuild` puts them right.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Annotated

from cassandra.cluster import Session
from kafka import KafkaConsumer
from kafka.errors import KafkaError, UnknownTopicOrPartitionError
from msgspec import Meta
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from observability import access, lock, logs, metrics, names, retry, settings, telemetry, tracing
from services.contract import USERS
from spark import points, raw, report, retention, seen, session, stats, stores
from spark.behind import Watch
from spark.contract import RAW, STATS
from spark.progress import Progress

log = logs.Log(__name__)

Writer = Callable[[DataFrame, int], None]
POOL = "spark.scheduler.pool"  # a core that is free goes to the pool with fewer; within one the first job goes first
DAMAGED = ("log file", "STATE_STORE", "checkpoint", "CHECKPOINT", "metadata", "offset log")
UNWRITTEN = "CANNOT_WRITE_STATE_STORE"  # a disk that is full, a folder without rights: what is there is whole


@dataclass(frozen=True)
class Settings:
    """What `.env` says of the lanes themselves."""

    checkpoints: str
    state: Path
    dedup_minutes: Annotated[int, Meta(ge=2)]
    trigger_ms: Annotated[int, Meta(ge=0)]
    cassandra_concurrency: Annotated[int, Meta(ge=1, le=400)]


@dataclass(frozen=True)
class Lane:
    """One query: its name, and what makes of the messages its rows, and the writer of their batches."""

    name: str
    make: Callable[[DataFrame], tuple[DataFrame, Writer]]


class LaneFailed(Exception):
    """A lane's query ended; the text is Spark's reason."""


def checkpoint(state: Path, lane: str, elsewhere: str = "") -> str:
    """Where a lane keeps its checkpoint: in the state folder, or below a path or URI that every executor reaches."""
    return f"{elsewhere.rstrip('/') or state / 'data' / 'checkpoints'}/{lane}"


def run(lane: Lane, messages: DataFrame, wanted: Settings, stopping: threading.Event) -> None:
    """
    Run a lane's query until `stopping`, starting it again whenever it fails.

    Raises:
        Py4JError: the JVM is gone; the whole process has to start again.
    """
    place = checkpoint(wanted.state, lane.name, wanted.checkpoints)
    starts = count()

    def start() -> None:
        if next(starts):
            metrics.counter(names.LANE_RESTARTS).labels(lane.name).inc()
        once(lane, messages, place, wanted, stopping)

    while not stopping.is_set():
        began = time.monotonic()
        try:
            retry.policy(f"lane {lane.name}", LaneFailed, attempts=8, longest_s=30, stopping=stopping)(start)
        except LaneFailed as error:
            log.error("lane goes on failing", lane=lane.name, reason=str(error), for_s=round(time.monotonic() - began))


def once(lane: Lane, messages: DataFrame, place: str, wanted: Settings, stopping: threading.Event) -> None:
    """
    Run a lane's query until it is stopped.

    Raises:
        LaneFailed: the query ended by itself.
    """
    up = metrics.gauge(names.LANE_UP).labels(lane.name)
    try:
        rows, writer = lane.make(messages)
        messages.sparkSession.sparkContext.setLocalProperty(POOL, lane.name)  # of this thread, and its query's
        query = (
            rows.writeStream.queryName(lane.name)
            .outputMode("update")
            .foreachBatch(writer)
            .option("checkpointLocation", place)
            .trigger(processingTime=f"{wanted.trigger_ms} milliseconds")
            .start()
        )
        up.set(1)
        query.awaitTermination()
    except PySparkException as error:
        if stopping.is_set():
            return
        raise LaneFailed(explained(str(error)[:1000], place, lane.name)) from None
    finally:
        up.set(0)


def explained(reason: str, place: str, lane: str) -> str:
    """Spark's reason, and what to do where the lane's checkpoint is."""
    if UNWRITTEN in reason:
        return f"the checkpoint {place} cannot be written: room, rights (`df`, `ls -l`). Spark says: {reason}"
    if any(word in reason for word in DAMAGED):
        return (
            f"the checkpoint {place} may be damaged; the way back: `make down`, "
            f"`.venv/bin/python -m spark.lanes --set-checkpoint-aside {lane}`, `make up`: the lane reads "
            f"{USERS} again (docs/runbooks/lanes.md#lanestopped). Spark says: {reason}"
        )
    return reason


def described(env: Mapping[str, str], stopping: threading.Event) -> list[Lane]:
    """The two lanes, as `env` has them."""
    wanted, of_stores = settings.read(Settings, env), settings.read(stores.Settings, env)
    stores.check(of_stores)
    sink = settings.read(raw.Sink, env)
    reached = points.of(wanted.state)

    @cache
    def connect() -> Session:
        """One for the process: a lane that starts again and again leaves none behind."""
        return stores.cassandra(of_stores)

    def of_raw(messages: DataFrame) -> tuple[DataFrame, Writer]:
        return raw.outcomes(messages, sink), raw.batch_writer(sink, stopping, reached)

    def of_stats(messages: DataFrame) -> tuple[DataFrame, Writer]:
        noted = messages.sparkSession.sparkContext.accumulator({}, seen.Noted())
        writer = stats.batch_writer(connect, wanted.cassandra_concurrency, noted, stopping, reached)
        return stats.by_minute(messages, wanted.dedup_minutes, noted), writer

    return [Lane(RAW, of_raw), Lane(STATS, of_stats)]


def serve(spark: SparkSession, env: Mapping[str, str], stopping: threading.Event) -> int:
    """Run the lanes until `stopping`; 1 if one ended by itself, as it does when the JVM is gone."""
    wanted, of_session = settings.read(Settings, env), settings.read(session.Settings, env)
    report.begin()
    progress = Progress(spark._jvm, of_session)
    spark.streams.addListener(progress)
    watch = Watch(of_session, progress.positions)
    metrics.read_at_scrape(watch.samples)
    messages = session.messages(spark, of_session)
    threads = [
        threading.Thread(target=run, args=(lane, messages, wanted, stopping), name=lane.name, daemon=True)
        for lane in described(env, stopping)
    ]
    of_stores = settings.read(stores.Settings, env)
    removing = (of_stores, of_stores.users_days, stopping)
    threading.Thread(target=retention.keep, args=removing, name="retention", daemon=True).start()
    for thread in threads:
        thread.start()
    while all(thread.is_alive() for thread in threads) and is_up(spark) and not stopping.wait(0.5):
        watch.tend(stopping)
    broken = not stopping.is_set()
    stopping.set()
    for query in [] if broken else spark.streams.active:
        query.stop()
    for thread in threads:
        thread.join(timeout=5)
    return 1 if broken else 0


def alone(state: Path) -> AbstractContextManager[None]:
    """
    Keep others from the checkpoints, and from what their lanes write.

    Raises:
        Held: lanes run on them.
    """
    place = state / "data" / "checkpoints"
    return lock.alone(place / "lock", f"{place}: lanes run on these checkpoints; stop them first: make down")


def is_up(spark: SparkSession) -> bool:
    """Whether the application still runs; a cluster that has given it up stops it, and leaves its JVM."""
    try:
        return not spark.sparkContext._jsc.sc().isStopped()
    except (Py4JError, OSError):
        return False


def set_aside(state: Path, lane: str, elsewhere: str) -> Path:
    """
    Keep a lane's checkpoint under a name with the time; return it.

    Raises:
        FileNotFoundError: there is none, or it is not in this machine's files.
    """
    if "://" in elsewhere:
        raise FileNotFoundError(f"{checkpoint(state, lane, elsewhere)}: no file here; rename it where it is kept")
    place = Path(checkpoint(state, lane, elsewhere))
    aside = place.with_name(f"{lane}.aside-{time.strftime('%Y%m%dT%H%M%S')}")
    return place.rename(aside)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m spark.lanes", description=__doc__)
    parser.add_argument(
        "--set-checkpoint-aside",
        choices=(RAW, STATS),
        metavar="LANE",
        help="only this: keep the checkpoint of `raw` or `stats` under another name; `make down` first",
    )
    asked = parser.parse_args(argv)
    stopping = threading.Event()
    try:
        env = settings.environ()
        with alone(Path(env["VIGIE_STATE"])):
            if asked.set_checkpoint_aside:
                logs.start("spark")
                kept = set_aside(Path(env["VIGIE_STATE"]), asked.set_checkpoint_aside, env["VIGIE_CHECKPOINTS"])
                log.info("checkpoint set aside", kept=str(kept))
                return 0
            return work(env, stopping)
    except (settings.WrongSetting, session.JarsMissing, FileNotFoundError, lock.Held) as error:
        print(error, file=sys.stderr)
        return 2


def work(env: Mapping[str, str], stopping: threading.Event) -> int:
    """
    Run the lanes; it ends the process.

    Raises:
        WrongSetting, JarsMissing: nothing was started.
    """
    telemetry.start("spark", env)
    described(env, stopping)
    of_session = settings.read(session.Settings, env)
    session.clear(of_session.state)
    spark = session.start(of_session)
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stopping.set())
    log.info("session is up", page=spark.sparkContext.uiWebUrl)
    wait_for_topic(of_session, stopping)
    code = serve(spark, env, stopping)
    log.info("stopped", code=code)
    tracing.stop()
    logging.shutdown()
    os._exit(code)  # a thread that still waits for a store, or for a JVM that is gone, must not hold the process


def wait_for_topic(brokers: access.Kafka, stopping: threading.Event) -> None:
    """Return when users.raw is there, or when stopping."""

    def look() -> None:
        reader = KafkaConsumer(**brokers.kafka(), bootstrap_timeout_ms=2_000)
        try:
            if not reader.partitions_for_topic(USERS):
                raise UnknownTopicOrPartitionError(USERS)
        finally:
            reader.close()

    with suppress(KafkaError):
        retry.policy("kafka", KafkaError, longest_s=1, stopping=stopping)(look)


if __name__ == "__main__":
    sys.exit(main())
