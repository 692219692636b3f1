"""
The job that every peer does: a user is a document, and is counted in every dimension by minute and by day, once.

The stores' tables are those of spark.contract, in a database and a keyspace of the peer's own. A user whom MongoDB had
is not counted again; sums are full values of their keys. So a message that is read again changes nothing, as with the
lanes, as long as the process lives: only the lanes keep their sums' state, dead letters, ledger and canary.
"""

import json
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.concurrent import execute_concurrent
from pymongo import MongoClient
from pymongo.errors import BulkWriteError

from observability import access, settings
from services.evidence import User, of_user
from spark import stores
from spark.contract import ALL_TIME, KEYSPACE_CQL, RAW, STATS, TABLES, USERS
from spark.stats import together

AT_ONCE = 4000  # messages of a partition that each peer takes together: a batch of three is as large as one of ours
CONCURRENCY = 100
HELD_MS = 1_800_000  # a reader that waits for its turn stays in its group
DUPLICATE_KEY = 11000
Key = tuple[Any, ...]


def document(user: Mapping[str, Any], partition: int, offset: int, timestamp_ms: int) -> dict[str, Any]:
    """The document of a decoded message."""
    rest = dict(user)
    rest["dob"] = rest["dob"] | {"date": datetime.fromisoformat(rest["dob"]["date"])}
    rest["registered"] = rest["registered"] | {"date": datetime.fromisoformat(rest["registered"]["date"])}
    return {
        "_id": rest.pop("user_id"),
        **rest,
        "fetched_at": datetime.fromisoformat(rest["fetched_at"]),
        "appended_at": datetime.fromtimestamp(timestamp_ms / 1000, UTC),
        "stored_at": datetime.now(UTC),
        "topic": {"partition": partition, "offset": offset},
    }


def facets(user: Mapping[str, Any]) -> Collection[tuple[str, str]]:
    """The value of each dimension."""
    place, age = user["location"]["country"], user["dob"]["age"]
    return of_user(User(user["appended_at"], place, user["gender"], age, user["nat"])).items()


def wanted() -> stores.Settings:
    """Where the stores are."""
    return settings.read(stores.Settings, settings.environ())


def brokers() -> str:
    return settings.read(access.Kafka, settings.environ()).kafka_bootstrap


class Sums:
    """The sums so far, and Cassandra, where they are written in rows of full values, as the stats lane writes them."""

    def __init__(self, session: Session, name: str, place: stores.Settings) -> None:
        """Make the keyspace and its tables."""
        self.session = session
        session.get_execution_profile(EXEC_PROFILE_DEFAULT).request_timeout = HELD_MS / 1000  # held amid a question
        session.execute(KEYSPACE_CQL.format(keyspace=name, replication=place.cassandra_replication))
        for table in TABLES:
            session.execute(table.format(keyspace=name, minutes_ttl_s=place.minutes_days * stores.DAY_S))
        self.put_minute = session.prepare(
            f"INSERT INTO {name}.stats_by_minute (dimension, day, minute, value, users, age_sum) VALUES (?,?,?,?,?,?)"
        )
        self.put_total = session.prepare(
            f"INSERT INTO {name}.totals (period, dimension, value, users, age_sum) VALUES (?,?,?,?,?)"
        )
        self.minutes: dict[Key, tuple[int, int]] = {}
        self.totals: dict[Key, tuple[int, int]] = {}

    def changed(self, documents: Sequence[Mapping[str, Any]]) -> list[tuple[Any, Key]]:
        """Add the users to their sums; the rows of those that have changed."""
        minutes, totals = set(), set()
        for user in documents:
            minute = user["appended_at"].replace(second=0, microsecond=0)
            for dimension, value in facets(user):
                minutes.add(added(self.minutes, (dimension, minute.date(), minute, value), user["dob"]["age"]))
                for period in (ALL_TIME, minute.date().isoformat()):
                    totals.add(added(self.totals, (period, dimension, value), user["dob"]["age"]))
        writes = [(self.put_minute, (*key, *self.minutes[key])) for key in minutes]
        return writes + [(self.put_total, (*key, *self.totals[key])) for key in totals]

    def put(self, writes: list[tuple[Any, Key]]) -> None:
        """Those of one partition together."""
        execute_concurrent(self.session, together(writes), concurrency=CONCURRENCY, raise_on_first_error=True)


class Job:
    """Both stores, open."""

    def __init__(self, name: str) -> None:
        """Make the peer's database and keyspace, which are named after it."""
        place = wanted()
        self.users = MongoClient[dict[str, Any]](**place.mongo(), w="majority", journal=True)[name][USERS]
        for index in stores.INDEXES:
            self.users.create_index(index)
        self.sums = Sums(stores.cassandra(place), name, place)

    def take(self, documents: Sequence[dict[str, Any]]) -> None:
        """Write a batch to both stores, and tell of it."""
        new = [user for user, new in zip(documents, self.insert(documents), strict=True) if new]
        self.sums.put(self.sums.changed(new))
        tell(RAW, len(documents))
        tell(STATS, len(documents))

    def insert(self, documents: Sequence[dict[str, Any]]) -> list[bool]:
        """Insert the users; for each whether it is new."""
        try:
            self.users.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            errors = error.details["writeErrors"]
            if any(one["code"] != DUPLICATE_KEY for one in errors):
                raise
            known = {one["index"] for one in errors}
            return [n not in known for n in range(len(documents))]
        return [True] * len(documents)


def added(sums: dict[Key, tuple[int, int]], key: Key, age: int) -> Key:
    """Add one user to a sum; return its key."""
    users, ages = sums.get(key, (0, 0))
    sums[key] = users + 1, ages + age
    return key


def tell(sink: str, rows: int) -> None:
    """A line as the lanes log it."""
    line = {"event": "batch done", "lane": sink, "rows": rows, "written": time.time()}
    print(json.dumps(line, separators=(",", ":")), flush=True)
