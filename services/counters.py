"""What the auditor asks the hops: each in as few and as cheap questions as its checks need, in their order."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from cassandra.cluster import Session
from kafka import KafkaConsumer, TopicPartition
from pymongo import MongoClient

from services import hops, topics
from services.contract import DEAD_LETTERS, USERS
from services.gaps import OfCassandra, OfKafka, OfMongo, OfOutbox
from services.outbox_file import read_counts
from spark.contract import CANARIES, DATABASE, KEYSPACE, LEDGER, NEWEST_ID, NEWEST_USERS, RAW, STATS, Ledger

PATIENCE_S = 6.0  # for the outbox, and for the brokers
STORE_S = 10.0  # for a store: the first question opens its connection, and a count of many users takes a while
COUNT_SHARE, COUNT_EVERY_S = 500, 60.0  # counting documents may take 0.2 % of the time, but is never put off longer

Mongo = MongoClient[dict[str, Any]]


@dataclass(frozen=True)
class Newest:
    """The newest a store has: when its canary was put into the outbox and reached it, and when its user was fetched."""

    canary_sent: datetime | None = None
    canary_there: datetime | None = None
    user: datetime | None = None


def of_outbox(path: Path) -> OfOutbox:
    """The outbox, opened anew: one that was damaged is replaced by another file."""
    with hops.read_only(path) as db:
        db.execute("BEGIN")
        return OfOutbox(
            id=db.execute("SELECT id FROM identity").fetchone()[0],
            counts=read_counts(db),
            looked_back=bool(db.execute("SELECT count(*) FROM positions").fetchone()[0]),
        )


def of_kafka(reader: KafkaConsumer) -> OfKafka:
    """
    Where the topics begin and end.

    Raises:
        KafkaError, TopicUnreadable: the brokers do not say.
    """
    users, letters = topics.partitions(reader, USERS), topics.partitions(reader, DEAD_LETTERS)
    begins = topics.begins(reader, users, PATIENCE_S)
    ends = topics.ends(reader, [*users, *letters], PATIENCE_S)
    return OfKafka(by_partition(begins, users), by_partition(ends, users), sum(ends[tp] for tp in letters))


def by_partition(offsets: Mapping[TopicPartition, int], places: Sequence[TopicPartition]) -> dict[int, int]:
    return {tp.partition: offsets[tp] for tp in places}


class OfStores:
    """The two stores' answers; how long counting takes decides how often it is done."""

    def __init__(self) -> None:
        self._count_at = 0.0

    def mongo(self, client: Mongo) -> tuple[OfMongo, Newest]:
        """
        The raw lane's ledger around the count of documents, and the newest canary and user.

        Raises:
            PyMongoError: the store does not answer.
        """
        database = client[DATABASE]
        before, documents = body(database[LEDGER].find_one({"_id": RAW})), None
        began = time.monotonic()
        if began >= self._count_at:
            documents = hops.documents(database, STORE_S)
            took = time.monotonic() - began
            self._count_at = began + took + min(COUNT_EVERY_S, COUNT_SHARE * took)
        after = body(database[LEDGER].find_one({"_id": RAW}))
        canary = database[CANARIES].find_one({"_id": NEWEST_ID}) or {}
        shown = database[NEWEST_USERS].find({}, {"users.fetched_at": 1})
        user = max((one["fetched_at"] for partition in shown for one in partition["users"]), default=None)
        found = OfMongo(before, documents, after, hops.ahead(database, STORE_S))
        return found, Newest(canary.get("fetched_at"), canary.get("stored_at"), user)

    def cassandra(self, session: Session) -> tuple[OfCassandra, Newest]:
        """
        The stats lane's ledger around the all-time total, and the newest canary and user.

        Raises:
            NoHostAvailable, DriverException: the store does not answer.
        """
        others = [
            session.execute_async(f"SELECT fetched_at, summed_at FROM {KEYSPACE}.canaries WHERE id=%s", (NEWEST_ID,)),
            session.execute_async(f"SELECT newest FROM {KEYSPACE}.lanes WHERE lane=%s", (STATS,)),
        ]
        ledger = f"SELECT body FROM {KEYSPACE}.ledger WHERE lane=%s"
        before = session.execute(ledger, (STATS,)).one()
        total = hops.all_time(session)
        after = session.execute(ledger, (STATS,)).one()
        canary, lane = (one.result().one() for one in others)
        newest = Newest(
            utc(canary.fetched_at) if canary else None,
            utc(canary.summed_at) if canary else None,
            utc(lane.newest) if lane else None,
        )
        return OfCassandra(body(before and before._asdict()), total, body(after and after._asdict())), newest


def body(found: Mapping[str, Any] | None) -> Ledger | None:
    """The ledger in a store's row or document."""
    return msgspec.json.decode(found["body"], type=Ledger) if found else None


def utc(at: datetime | None) -> datetime | None:
    """Cassandra's times are UTC without saying so."""
    return at.replace(tzinfo=UTC) if at else None
