"""How the cost of a user grows: with the backlog, with the users that are stored, with partitions."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import bson
from bson.raw_bson import RawBSONDocument
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions

from bench import limits
from bench.draining import CPU, RATE, WARM_S
from bench.notebook import Notebook
from bench.readers import LANES, Reader, reading
from bench.result import OURS
from bench.system import System
from observability import settings
from services import contract
from spark import documents, stores
from spark.contract import DATABASE, USERS

SEEDED_AT_ONCE = 1000


def backlogs_and_stored(of: System, book: Notebook) -> None:
    """Ever larger backlogs, then the same backlog with ever more users in the store."""
    of.fill(book.size.warm)
    with reading(LANES, of, WARM_S) as lanes:
        for users in book.size.backlogs:
            drained(of, book, lanes, users, f"backlog {users:,}")
        for stored in book.size.stored:
            seed(of, stored, book)
            drained(of, book, lanes, book.size.backlog, f"stored {stored:,}")


def partitions(of: System, book: Notebook) -> None:
    """The same backlog in ever more partitions."""
    of.fill(book.size.warm)
    with reading(LANES, of, WARM_S) as lanes:
        for n in book.size.partitions:
            if n > int(of.setting("PARTITIONS")):
                admin = KafkaAdminClient(**limits.brokers(of).kafka())
                admin.create_partitions({contract.USERS: NewPartitions(n)})
                admin.close()
            drained(of, book, lanes, book.size.backlog, f"partitions {n}")


def drained(of: System, book: Notebook, lanes: Reader, users: int, case: str) -> None:
    for n in range(min(2, book.size.rounds)):
        took = lanes.drain(of.fill(users).users, 4 * WARM_S)
        book.note(OURS, "drained", took.both, RATE, at=n, case=case)
        book.note(OURS, "processor time", took.cpu_us, CPU, at=n, case=case)
        book.note(OURS, "memory", took.reader.memory / 2**20, "MB", at=n, case=case)


def seed(of: System, users: int, book: Notebook) -> None:
    """Put people into the store, who never were on the topic, until it holds so many."""
    template = [contract.decode(value) for _, value in limits.messages(SEEDED_AT_ONCE)]
    past = datetime.now(UTC) - timedelta(days=1)
    filled = [documents.document(one, 0, n, past) | {"fetched_at": past} for n, one in enumerate(template)]
    wanted = settings.read(stores.Settings, of.env)
    database = documents.connected(wanted)
    there = next(iter(database[USERS].aggregate([{"$collStats": {"count": {}}}])))["count"]

    def put(begin: int) -> None:
        raw = [bson.encode(one | {"_id": str(UUID(int=begin + n))}) for n, one in enumerate(filled)]
        database[USERS].insert_many(map(RawBSONDocument, raw), ordered=False)

    with ThreadPoolExecutor(limits.THREADS) as pool:
        list(pool.map(put, range(there, users, SEEDED_AT_ONCE)))
    book.say(f"{DATABASE}: {max(there, users):,} users are stored")
