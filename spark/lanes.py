"""
Run both lanes, each with its own query, checkpoint and restart, in one Spark application, until told to stop.

A lane that fails starts again with backoff while the other goes on. `--set-checkpoint-aside LANE` is the way back from
a damaged checkpoint: the lane then reads users.raw again from its oldest record, and the stores take each user once.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cassandra.cluster import Session
from kafka import KafkaConsumer
from kafka.errors import KafkaError, UnknownTopicOrPartitionError
from msgspec import Meta
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from observability import lock, logs, retry, settings
from services.contract import USERS
from spark import raw, retention, session, stats, stores
from spark.contract import RAW, STATS
from spark.progress import Progress

log = logs.Log(__name__)

Writer = Callable[[DataFrame, int], None]
DAMAGED = ("log file", "STATE_STORE", "checkpoint", "CHECKPOINT", "metadata", "offset log")


@dataclass(frozen=True)
class Settings:
    """What `.env` says of the lanes themselves."""

    state: Path
    dedup_minutes: Annotated[int, Meta(ge=2)]
    trigger_ms: Annotated[int, Meta(ge=0)]
    cassandra_concurrency: Annotated[int, Meta(ge=1, le=400)]


@dataclass(frozen=True)
class Lane:
    """One query: what it reads of the messages, and what makes the writer of its batches."""

    name: str
    rows: Callable[[DataFrame], DataFrame]
    writer: Callable[[], Writer]


class LaneFailed(Exception):
    """A lane's query ended; the text is Spark's reason."""


def checkpoint(state: Path, lane: str) -> Path:
    return state / "data" / "checkpoints" / lane


def run(lane: Lane, messages: DataFrame, wanted: Settings, stopping: threading.Event) -> None:
    """
    Run a lane's query until `stopping`, starting it again whenever it fails.

    Raises:
        Py4JError: the JVM is gone; the whole process has to start again.
    """
    place = checkpoint(wanted.state, lane.name)
    while not stopping.is_set():
        began = time.monotonic()
        try:
            retry.policy(f"lane {lane.name}", LaneFailed, attempts=8, longest_s=30, stopping=stopping)(
                once, lane, messages, place, wanted, stopping
            )
        except LaneFailed as error:
            log.error("lane goes on failing", lane=lane.name, reason=str(error), for_s=round(time.monotonic() - began))


def once(lane: Lane, messages: DataFrame, place: Path, wanted: Settings, stopping: threading.Event) -> None:
    """
    Run a lane's query until it is stopped.

    Raises:
        LaneFailed: the query ended by itself.
    """
    try:
        query = (
            lane.rows(messages)
            .writeStream.queryName(lane.name)
            .outputMode("update")
            .foreachBatch(lane.writer())
            .option("checkpointLocation", str(place))
            .trigger(processingTime=f"{wanted.trigger_ms} milliseconds")
            .start()
        )
        query.awaitTermination()
    except PySparkException as error:
        if stopping.is_set():
            return
        reason = str(error)[:1000]
        if any(word in reason for word in DAMAGED):
            reason = (
                f"the checkpoint {place} may be damaged; the way back: `make down`, "
                f"`.venv/bin/python -m spark.lanes --set-checkpoint-aside {lane.name}`, `make up`: the lane reads "
                f"{USERS} again, and the stores take each user once. Spark says: {reason}"
            )
        raise LaneFailed(reason) from None


def described(env: Mapping[str, str], stopping: threading.Event) -> list[Lane]:
    """The two lanes, as `env` has them."""
    wanted, of_stores = settings.read(Settings, env), settings.read(stores.Settings, env)
    stores.check(of_stores)
    sink = raw.Sink(env["VIGIE_MONGO_URI"], env["VIGIE_KAFKA_BOOTSTRAP"])

    def connect() -> Session:
        return stores.cassandra(of_stores)

    return [
        Lane(RAW, lambda messages: messages, lambda: raw.batch_writer(sink, stopping)),
        Lane(
            STATS,
            lambda messages: stats.by_minute(messages, wanted.dedup_minutes),
            lambda: stats.batch_writer(connect, wanted.cassandra_concurrency, stopping),
        ),
    ]


def serve(spark: SparkSession, env: Mapping[str, str], stopping: threading.Event) -> int:
    """Run the lanes until `stopping`; 1 if one ended by itself, as it does when the JVM is gone."""
    wanted, of_session = settings.read(Settings, env), settings.read(session.Settings, env)
    spark.streams.addListener(Progress(spark._jvm, of_session.bootstrap))
    messages = session.messages(spark, of_session)
    threads = [
        threading.Thread(target=run, args=(lane, messages, wanted, stopping), name=lane.name, daemon=True)
        for lane in described(env, stopping)
    ]
    of_stores = settings.read(stores.Settings, env)
    removing = (of_stores.mongo_uri, of_stores.users_days, stopping)
    threading.Thread(target=retention.keep, args=removing, name="retention", daemon=True).start()
    for thread in threads:
        thread.start()
    while all(thread.is_alive() for thread in threads) and not stopping.wait(0.5):
        pass
    broken = not stopping.is_set()
    stopping.set()
    for query in [] if broken else spark.streams.active:
        query.stop()
    for thread in threads:
        thread.join(timeout=5)
    return 1 if broken else 0


def set_aside(state: Path, lane: str) -> Path:
    """Keep a lane's checkpoint under a name with the time; return it."""
    place = checkpoint(state, lane)
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
    logs.start("spark")
    stopping = threading.Event()
    try:
        env = settings.environ()
        place = Path(env["VIGIE_STATE"]) / "data" / "checkpoints"
        with lock.alone(place / "lock", f"{place}: lanes run on these checkpoints; stop them first: make down"):
            if asked.set_checkpoint_aside:
                kept = set_aside(Path(env["VIGIE_STATE"]), asked.set_checkpoint_aside)
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
    described(env, stopping)
    spark = session.start(settings.read(session.Settings, env))
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stopping.set())
    log.info("session is up", page=spark.sparkContext.uiWebUrl)
    wait_for_topic(env["VIGIE_KAFKA_BOOTSTRAP"], stopping)
    code = serve(spark, env, stopping)
    log.info("stopped", code=code)
    logging.shutdown()
    os._exit(code)  # a thread that still waits for a store, or for a JVM that is gone, must not hold the process


def wait_for_topic(bootstrap: str, stopping: threading.Event) -> None:
    """Return when users.raw is there, or when stopping."""

    def look() -> None:
        reader = KafkaConsumer(bootstrap_servers=bootstrap.split(","), bootstrap_timeout_ms=2_000)
        try:
            if not reader.partitions_for_topic(USERS):
                raise UnknownTopicOrPartitionError(USERS)
        finally:
            reader.close()

    with suppress(KafkaError):
        retry.policy("kafka", KafkaError, longest_s=1, stopping=stopping)(look)


if __name__ == "__main__":
    sys.exit(main())
