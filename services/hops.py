"""
What each hop of the pipeline has counted: one row from the source to the stores, None where a hop does not answer.

`python -m services.hops` prints it.
"""

import argparse
import logging
import sqlite3
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from cassandra import ConsistencyLevel, DriverException
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import RoundRobinPolicy
from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from observability import access, logs, settings
from services import topics
from services.contract import DEAD_LETTERS, USERS
from services.outbox_file import outbox_path, read_counts
from spark.contract import ALL_TIME, DATABASE, EVERYONE, FORGOTTEN, GROUPS, KEYSPACE, NEWEST_USERS, RAW, STATS
from spark.contract import USERS as COLLECTION

MONGO_S = 60.0  # the longest that MongoDB is waited for
NO_SUCH_COLLECTION = 26  # MongoDB's NamespaceNotFound


@dataclass(frozen=True)
class Hops:
    """
    Counts since the system was first started; seconds for the age.

    They are counts of users, but `outbox`, `on_topic`, `dead_letters` and `read_*`, which are of messages: canaries are
    among those.
    """

    fetched: int | None = None
    duplicates: int | None = None
    rejected: int | None = None
    outbox: int | None = None
    acknowledged: int | None = None
    on_topic: int | None = None
    dead_letters: int | None = None
    read_raw: int | None = None
    read_stats: int | None = None
    stored: int | None = None
    summed: int | None = None
    newest_age_s: float | None = None


MEANING = {
    "fetched": "users that the source sent",
    "duplicates": "of them known already, dropped at the door",
    "rejected": "of them malformed, set aside",
    "outbox": "messages that wait on disk for the brokers",
    "acknowledged": "users that the brokers have acknowledged",
    "on_topic": f"messages on {USERS}: users, copies, canaries, poison",
    "dead_letters": f"messages on {DEAD_LETTERS}",
    "read_raw": "messages read by the raw lane",
    "read_stats": "messages read by the stats lane",
    "stored": "users in MongoDB, those forgotten among them",
    "summed": "users in Cassandra's all-time total",
    "newest_age_s": "seconds since the newest stored user was fetched",
}


@dataclass(frozen=True)
class Settings(access.Kafka, access.Mongo, access.Cassandra):
    """Where the hops are asked."""

    state: Path


def of_outbox(wanted: Settings) -> Hops:
    with read_only(outbox_path(wanted.state)) as db:
        counts = read_counts(db)
    return Hops(
        fetched=counts.fetched,
        duplicates=counts.duplicates,
        rejected=counts.rejected,
        outbox=counts.waiting + counts.waiting_dead + counts.waiting_canaries,
        acknowledged=counts.acknowledged,
    )


def of_kafka(wanted: Settings) -> Hops:
    reader = topics.consumer(wanted)
    try:
        places = {topic: topics.partitions(reader, topic) for topic in (USERS, DEAD_LETTERS)}
        both = [tp for found in places.values() for tp in found]
        ends, begins = topics.ends(reader, both), topics.begins(reader, both)
    finally:
        reader.close()
    read = committed(wanted)
    return Hops(
        on_topic=sum(ends[tp] for tp in places[USERS]),
        dead_letters=sum(ends[tp] - begins[tp] for tp in places[DEAD_LETTERS]),
        read_raw=sum(read[RAW].values()),
        read_stats=sum(read[STATS].values()),
    )


def committed(brokers: access.Kafka) -> dict[str, dict[TopicPartition, int]]:
    """How far each lane has read each partition of users.raw, as it has told its consumer group."""
    admin = topics.opened(
        KafkaAdminClient,
        **brokers.kafka(),
        request_timeout_ms=5_000,
        bootstrap_timeout_ms=5_000,
    )
    try:
        found = admin.list_group_offsets(dict.fromkeys(GROUPS.values()))
    finally:
        admin.close()
    return {
        lane: {tp: one.offset for tp, one in found.get(group, {}).items() if tp.topic == USERS}
        for lane, group in GROUPS.items()
    }


def of_mongo(wanted: Settings) -> Hops:
    with mongo(wanted) as client:
        database = client[DATABASE]
        times = [user["fetched_at"] for shown in database[NEWEST_USERS].find() for user in shown["users"]]
        age_s = (datetime.now(UTC) - max(times)).total_seconds() if times else None
        return Hops(stored=documents(database, MONGO_S), newest_age_s=age_s)


def documents(database: Database[dict[str, Any]], longest_s: float) -> int:
    """
    How many users MongoDB has, or had and has forgotten.

    From the collection's statistics, the one count without reading every document, less those forgotten ahead. The
    server is told when to give up: what only the client gives up goes on there.
    """
    asked: list[dict[str, Any]] = [{"$collStats": {"count": {}}}]
    try:
        parts = database[COLLECTION].aggregate(asked, maxTimeMS=int(longest_s * 1000))
        counted: int = sum(part["count"] for part in parts)
        return counted - ahead(database, longest_s)
    except OperationFailure as error:
        if error.code == NO_SUCH_COLLECTION:
            return 0
        raise


def ahead(database: Database[dict[str, Any]], longest_s: float) -> int:
    """How many users were forgotten before they were stored; after `longest_s` the server gives up as well."""
    return database[FORGOTTEN].count_documents({"ahead": True}, maxTimeMS=int(longest_s * 1000))


def forgotten(store: access.Mongo) -> set[str]:
    """
    The ids of all users who were forgotten.

    Raises:
        PyMongoError: MongoDB does not answer.
    """
    with mongo(store) as client:
        return {one["_id"] for one in client[DATABASE][FORGOTTEN].find({}, {"_id": 1})}


def of_cassandra(wanted: Settings) -> Hops:
    session = cassandra(wanted)
    try:
        return Hops(summed=all_time(session))
    finally:
        session.cluster.shutdown()


def all_time(session: Session) -> int:
    """How many users Cassandra has summed."""
    row = session.execute(
        f"SELECT users FROM {KEYSPACE}.totals WHERE period=%s AND dimension=%s AND value=%s",
        (ALL_TIME, EVERYONE, EVERYONE),
    ).one()
    return row.users if row else 0


SILENT = (sqlite3.Error, KafkaError, topics.TopicUnreadable, PyMongoError, NoHostAvailable, DriverException, OSError)


def ask(wanted: Settings) -> tuple[Hops, dict[str, str]]:
    """Ask every hop at once; return what they say, and for each that is silent the reason."""
    asked: dict[str, Callable[[Settings], Hops]] = {
        "outbox": of_outbox,
        "kafka": of_kafka,
        "mongodb": of_mongo,
        "cassandra": of_cassandra,
    }
    said, silent = Hops(), {}
    with ThreadPoolExecutor(len(asked)) as pool:
        for name, answer in [(name, pool.submit(one, wanted)) for name, one in asked.items()]:
            try:
                said = replace(said, **{k: v for k, v in asdict(answer.result()).items() if v is not None})
            except SILENT as error:
                silent[name] = f"{type(error).__name__}: {str(error)[:200]}"
    return said, silent


def hush() -> None:
    """Let the clients' own loggers be still: whoever asks says what does not answer."""
    for library in ("kafka", "cassandra", "pymongo"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def read_only(path: Path) -> closing[sqlite3.Connection]:
    """
    Open an outbox for a look; it is closed by the end of the `with`.

    Raises:
        sqlite3.Error: there is none.
    """
    return closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5))


def mongo(store: access.Mongo, patience_s: float = MONGO_S) -> MongoClient[dict[str, Any]]:
    return MongoClient(**store.mongo(patience_s), tz_aware=True)


def cassandra(store: access.Cassandra, patience_s: float = 10, consistency: str = "ONE") -> Session:
    """
    Open a session for a look; close it with `session.cluster.shutdown()`.

    Raises:
        NoHostAvailable: no node answers.
    """
    profile = ExecutionProfile(
        RoundRobinPolicy(),
        consistency_level=ConsistencyLevel.name_to_value[consistency],
        request_timeout=patience_s,
    )
    cluster = Cluster(
        **store.cassandra(),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=3,
        schema_metadata_enabled=False,
        token_metadata_enabled=False,
    )
    try:
        return cluster.connect()
    except Exception:
        cluster.shutdown()
        raise


def table(hops: Hops) -> str:
    """One line a hop: name, count, meaning."""
    lines = []
    for one in fields(hops):
        value = getattr(hops, one.name)
        shown = "?" if value is None else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
        lines.append(f"{one.name:<14}{shown:>14}  {MEANING[one.name]}")
    return "\n".join(lines)


def main(argv: list[str] | None = None, env: Mapping[str, str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.hops", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of the table")
    asked = parser.parse_args(argv)
    logs.start("hops", level=40)
    hush()
    try:
        wanted = settings.read(Settings, env or settings.environ())
    except settings.WrongSetting as error:
        print(error, file=sys.stderr)
        return 2
    hops, silent = ask(wanted)
    print(msgspec.json.encode(hops).decode() if asked.json else table(hops))
    for name, reason in silent.items():
        print(f"{name} does not answer: {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
