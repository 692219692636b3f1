"""
How the cost of a user grows: with the users that are stored, the backlog, dimensions, days, batches, partitions.

One after the other: what is compared has the same behind it.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import bson
import msgspec
from bson.raw_bson import RawBSONDocument
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions
from pymongo import MongoClient

from bench import limits
from bench.draining import told
from bench.notebook import Notebook
from bench.readers import LANES, WARM_S, Reader, reading, warm
from bench.result import OURS
from bench.system import System
from observability import settings
from services import contract, hops
from spark import documents, stores
from spark.contract import DATABASE, USERS
from spark.stats import Tables

SEEDED_AT_ONCE, LARGE = 1000, 20_000
SEED_S = 60
SEEDED_RATE = 1.0  # users/s: a million came within twelve days
LONG_S = 4 * WARM_S
SMALL = 50  # users of a batch that only makes a checkpoint older


def sizes(of: System, book: Notebook) -> None:
    """One backlog with ever more users in the store, ever larger ones, ever more values, ever more partitions."""
    with warm(of, book.size.warm) as lanes:
        lanes.drain(of.fill(book.size.little).users, LONG_S)  # not noted: the first is slower, whatever is stored
        for users in book.size.stored:
            seed(of, users, book)
            drained(of, book, lanes, book.size.little, f"stored {users:,}")
        for users in book.size.backlogs:
            drained(of, book, lanes, users, f"backlog {users:,}", times=1 if users > LARGE else 2)
        values(of, book, lanes)
        for n in book.size.partitions:
            if n > int(of.setting("PARTITIONS")):
                admin = KafkaAdminClient(**limits.brokers(of).kafka())
                admin.create_partitions({contract.USERS: NewPartitions(n)})
                admin.close()
            drained(of, book, lanes, book.size.little, f"partitions {n}")


def values(of: System, book: Notebook, lanes: Reader) -> None:
    """The same backlog with ever more values of a dimension, and of all dimensions together."""
    for times in book.size.values:
        sent = [elsewhere(one, n % times) for n, one in enumerate(limits.messages(book.size.little))]
        countries = len({contract.decode(value).location.country for _, value in sent})
        for n in range(min(2, book.size.rounds)):
            limits.python_produces(of, [other(one) for one in sent], contract.USERS)
            of.strangers += len(sent)
            told(book, OURS, lanes.drain(len(sent), LONG_S), n, f"countries {countries}")


def elsewhere(message: limits.Message, n: int) -> limits.Message:
    """The same user in the `n`th country of nearly that name; 0 is where they are."""
    event = contract.decode(message[1])
    country = f"{event.location.country} {n}" if n else event.location.country
    place = msgspec.structs.replace(event.location, country=country)
    return message[0], contract.encode(msgspec.structs.replace(event, location=place))


def other(message: limits.Message) -> limits.Message:
    """Somebody else who is the same in all that is counted."""
    event = msgspec.structs.replace(contract.decode(message[1]), user_id=str(uuid4()))
    return event.user_id.encode(), contract.encode(event)


def days(of: System, book: Notebook) -> None:
    """A start of the lanes, and the same backlog, with ever more days of totals in Cassandra."""
    of.sharing.close()
    for n in book.size.days:
        total(of, n)
        started(of, book, f"days {n}")


def checkpoints(of: System, book: Notebook) -> None:
    """
    A start of the lanes, and the same backlog, after ever more batches. Spark keeps the state whole each minute, the
    changes between, and what the last hundred need, so that a system which has had more shows nothing: this is a
    measure of a new one.
    """
    of.sharing.close()  # or they would read what these shall begin with
    small = replace(LANES, changed=(("VIGIE_MAX_OFFSETS_PER_TRIGGER", str(SMALL)),))
    batches = 0
    for n in book.size.batches:
        of.fill(SMALL * (n - batches))
        with reading(small, of, LONG_S):
            batches = n
        started(of, book, f"batches {n}")


def started(of: System, book: Notebook, case: str) -> None:
    """Start the lanes on a backlog, and drain another."""
    users, began = of.fill(book.size.little).users, time.monotonic()
    with reading(LANES, of, WARM_S) as lanes:
        book.note(OURS, f"started and read {users:,}", time.monotonic() - began, "s", case=case)
        drained(of, book, lanes, book.size.little, case)


def total(of: System, days: int) -> None:
    """Give Cassandra the totals of so many days before today, each with the values of the first that it has."""
    session = hops.cassandra(of.hops)
    try:
        tables = Tables(session, int(of.setting("CASSANDRA_CONCURRENCY")))
        there = tables.days()
        newest = max(there)
        for day in (newest - timedelta(days=n) for n in range(1, days)):
            if day not in there:
                tables.put((tables.put_total, (str(day), *key, *sums)) for key, sums in there[newest].items())
    finally:
        session.cluster.shutdown()


def drained(of: System, book: Notebook, lanes: Reader, users: int, case: str, *, times: int = 2) -> None:
    for n in range(min(times, book.size.rounds)):
        told(book, OURS, lanes.drain(of.fill(users).users, LONG_S), n, case)


def seed(of: System, users: int, book: Notebook) -> None:
    """Put people into the store, who never were on the topic, until it holds so many."""
    template = [contract.decode(value) for _, value in limits.messages(SEEDED_AT_ONCE)]
    past = datetime.now(UTC) - timedelta(days=1)
    filled = [documents.document(one, 0, n, past) for n, one in enumerate(template)]
    wanted = settings.read(stores.Settings, of.env)

    def put(begin: int) -> None:
        at = past - timedelta(seconds=begin / SEEDED_RATE)  # so that the indexes are as broad as those of real ones
        made = (one | {"_id": str(uuid4()), "fetched_at": at, "appended_at": at} for one in filled)
        raw = [bson.encode(one) for one in made]
        database[USERS].insert_many(map(RawBSONDocument, raw), ordered=False)

    with MongoClient[dict[str, Any]](**wanted.mongo(SEED_S)) as client, ThreadPoolExecutor(limits.THREADS) as pool:
        database = client[DATABASE]
        there = hops.documents(database, SEED_S)
        list(pool.map(put, range(there, users, SEEDED_AT_ONCE)))
    book.say(f"{DATABASE}: {max(there, users):,} users are stored")
