"""
The raw lane: users.raw to MongoDB, each user once; what is no user goes to the dead letters.

Every write can be done twice: users are inserted by `_id`, and one that is there already is counted, not written. The
store being down makes the batch wait and try again; it never fails the lane. The waiting is done on the driver: a task
that waited would hold a core that the other lane needs.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import bson
import msgspec
import pyarrow as pa
from bson.raw_bson import RawBSONDocument
from kafka import KafkaProducer
from kafka.errors import KafkaError
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError
from pyspark.sql import DataFrame

from observability import retry
from observability.logs import Log
from services.contract import (
    DEAD_LETTERS,
    MAX_DEAD_LETTER_BYTES,
    ORIGIN,
    REASON,
    STAGE,
    USERS,
    PoisonMessage,
    UserEvent,
    decode,
    without_secrets,
)
from spark.contract import DATABASE, NEWEST, NEWEST_USERS, RAW
from spark.contract import USERS as COLLECTION

log = Log(__name__)

COLUMNS = ("value", "key", "partition", "offset", "timestamp")
COUNTS = ("read", "stored", "duplicates", "poison")
OUTCOME = ", ".join(f"{name} long" for name in COUNTS) + ", failed string"
DUPLICATE_KEY = 11000
Document = dict[str, Any]


@dataclass(frozen=True)
class Sink:
    """Where the lane writes."""

    mongo_uri: str
    kafka_bootstrap: str


class NotStored(Exception):
    """A part of a batch found MongoDB, or Kafka for its dead letters, down; the text says what was answered."""


class StoreRefused(PyMongoError):
    """MongoDB refused some of a batch for another reason than that it has them; the text holds codes, never data."""


def batch_writer(sink: Sink, stopping: threading.Event) -> Callable[[DataFrame, int], None]:
    """Return what `foreachBatch` calls with each micro-batch: when it returns, every record is stored or set aside."""
    waiting = retry.policy("mongodb", (NotStored, PyMongoError), stopping=stopping)
    database = _database(sink.mongo_uri)

    def once(batch: DataFrame) -> dict[str, int]:
        database.command("ping")  # asked here first: no task is begun for a store that is known to be down
        outcome = batch.select(*COLUMNS).mapInArrow(lambda parts: store(parts, sink), OUTCOME).collect()
        if failed := [row.failed for row in outcome if row.failed]:
            raise NotStored(failed[0])
        return {name: sum(row[name] for row in outcome) for name in COUNTS}

    def write(batch: DataFrame, batch_id: int) -> None:
        log.info("batch stored", lane=RAW, batch=batch_id, **waiting(once, batch))

    return write


def store(parts: Iterator[pa.RecordBatch], sink: Sink) -> Iterator[pa.RecordBatch]:
    """Write one partition's records, on an executor; yield one row (OUTCOME) for each part; after a failure no more."""
    try:
        for part in parts:
            yield _outcome(store_part(part, sink))
    except (PyMongoError, KafkaError) as error:
        _producer.cache_clear()  # an idempotent producer that has failed stays so
        yield _outcome([0] * len(COUNTS), f"{type(error).__name__}: {str(error)[:200]}")


def _outcome(counts: Sequence[int], failed: str | None = None) -> pa.RecordBatch:
    columns = [pa.array([n], pa.int64()) for n in counts] + [pa.array([failed], pa.string())]
    return pa.RecordBatch.from_arrays(columns, names=[*COUNTS, "failed"])


def store_part(part: pa.RecordBatch, sink: Sink) -> list[int]:
    """
    Store what is a user, set aside what is none; return COUNTS.

    Raises:
        PyMongoError, KafkaError: a store or the brokers are down; the same part may be written again.
    """
    database = _database(sink.mongo_uri)
    users: list[Document] = []
    letters: list[tuple[bytes | None, bytes, str, str]] = []
    for value, key, partition, offset, at in zip(*(part.column(c).to_pylist() for c in COLUMNS), strict=True):
        try:
            users.append(document(decode(value), partition, offset, at))
        except PoisonMessage as error:
            letters.append((key, without_secrets(value or b""), str(error), f"{USERS}:{partition}:{offset}"))
    if letters:
        set_aside(_producer(sink.kafka_bootstrap), letters)
    stored = 0
    if users:
        stored = insert(database, users)
        show_newest(database, users)
    return [part.num_rows, stored, len(users) - stored, len(letters)]


def document(event: UserEvent, partition: int, offset: int, appended_at: datetime) -> Document:
    """The document of a user as it is stored: the event, its place on users.raw, and when it passed where (UTC)."""
    fields = msgspec.to_builtins(event, builtin_types=(datetime,))
    return {
        "_id": fields.pop("user_id"),
        **fields,
        "appended_at": appended_at,
        "stored_at": datetime.now(UTC),
        "topic": {"partition": partition, "offset": offset},
    }


def insert(database: Database[Document], users: Sequence[Document]) -> int:
    """
    Insert the users that are not there and return how many those were.

    Raises:
        PyMongoError: the store is down or refuses; what it took of the batch stays; the call may be made again.
    """
    now = datetime.now(UTC)
    raw = [RawBSONDocument(bson.encode({**user, "stored_at": now})) for user in users]
    try:
        database[COLLECTION].insert_many(raw, ordered=False)
    except BulkWriteError as error:
        codes = {one["code"] for one in error.details["writeErrors"]}
        if codes - {DUPLICATE_KEY}:
            raise StoreRefused(f"write errors with codes {sorted(codes)}") from None
        return int(error.details["nInserted"])
    return len(raw)


def show_newest(database: Database[Document], users: Sequence[Document]) -> None:
    """Keep the last NEWEST users of a partition in one small document, so that a page need not search for them."""
    partition = users[-1]["topic"]["partition"]
    place = database[NEWEST_USERS]
    known = (place.find_one({"_id": partition}) or {"users": []})["users"]
    shown = {one["user_id"]: one for one in known} | {user["_id"]: newest(user) for user in users[-NEWEST:]}
    place.replace_one({"_id": partition}, {"_id": partition, "users": list(shown.values())[-NEWEST:]}, upsert=True)


def newest(user: Document) -> Document:
    """What a page may know of a user that has just arrived."""
    return {
        "user_id": user["_id"],
        "first": user["name"]["first"],
        "last": user["name"]["last"],
        "country": user["location"]["country"],
        "gender": user["gender"],
        "age": user["dob"]["age"],
        "fetched_at": user["fetched_at"],
        "stored_at": user["stored_at"],
    }


def set_aside(producer: KafkaProducer, letters: Sequence[tuple[bytes | None, bytes, str, str]]) -> None:
    """
    Send (key, original, reason, origin) to the dead letters and wait until the brokers have them.

    Raises:
        KafkaError: they do not have them; a second try may send some of them twice, with the same origin.
    """
    futures = []
    for key, original, reason, origin in letters:
        headers = [(REASON, reason.encode()), (STAGE, RAW.encode()), (ORIGIN, origin.encode())]
        futures.append(producer.send(DEAD_LETTERS, original[:MAX_DEAD_LETTER_BYTES], key, headers))
    producer.flush(timeout=30)
    for future in futures:
        future.get(timeout=1)


@lru_cache(maxsize=4)
def _database(uri: str) -> Database[Document]:
    """One client for each executor process: a connection for every batch would cost as much as its inserts."""
    client: MongoClient[Document] = MongoClient(
        uri,
        serverSelectionTimeoutMS=3_000,
        connectTimeoutMS=3_000,
        socketTimeoutMS=5_000,
        retryWrites=False,
        tz_aware=True,
    )
    return client[DATABASE]


@lru_cache(maxsize=4)
def _producer(bootstrap: str) -> KafkaProducer:
    return KafkaProducer(
        bootstrap_servers=bootstrap.split(","),
        acks="all",
        enable_idempotence=True,
        max_request_size=2 * MAX_DEAD_LETTER_BYTES,
        allow_auto_create_topics=False,
        bootstrap_timeout_ms=5_000,
    )
