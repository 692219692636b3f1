"""
The raw lane: users.raw to MongoDB, each user once; what is no user goes to the dead letters, a canary beside the users.

Every write can be done twice: users are inserted by `_id`, and one that is there already is counted, not written. The
store being down makes the batch wait and try again; it never fails the lane. The waiting is done on the driver: a task
that waited would hold a core that the other lane needs.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce

import msgspec
import pyarrow as pa
from kafka import KafkaProducer
from kafka.errors import KafkaError
from pymongo.errors import PyMongoError
from pyspark.sql import DataFrame

from observability import access, retry
from observability.logs import Log
from services.contract import (
    DEAD_LETTERS,
    MAX_DEAD_LETTER_BYTES,
    ORIGIN,
    REASON,
    STAGE,
    USERS,
    PoisonMessage,
    decode,
    without_secrets,
)
from spark import ledger, report, seen
from spark.contract import BEFORE_RAW_COMMIT, BEFORE_RAW_LEDGER, BEFORE_USERS, LEDGER, RAW, Counted
from spark.contract import USERS as COLLECTION
from spark.documents import (
    Document,
    connected,
    document,
    insert,
    keep_canary,
    keep_ledger,
    mistaken,
    read_ledger,
    show_newest,
)
from spark.points import Reached
from spark.seen import NOTHING, Canary, Seen

log = Log(__name__)

OUTCOME = "outcome binary"  # an Outcome as JSON


@dataclass(frozen=True)
class Sink(access.Kafka, access.Mongo):
    """Where the lane writes; executors get it, and read the passwords' files themselves."""


class NotStored(Exception):
    """A part of a batch found MongoDB down; the text says what was answered."""


class NotSetAside(Exception):
    """A part of a batch found the brokers down for its dead letters; the text says what was answered."""


STORE_DOWN = (NotStored, PyMongoError)


class Outcome(msgspec.Struct, frozen=True):
    """
    What became of a part of a batch: `inserted` documents are new in the store, written from one time to another (ns).

    After `not_stored` or `not_set_aside`, which have the reason, nothing of the part is counted.
    """

    seen: Seen = NOTHING
    inserted: int = 0
    began_ns: int = 0
    ended_ns: int = 0
    not_stored: str = ""
    not_set_aside: str = ""


def outcomes(messages: DataFrame, sink: Sink) -> DataFrame:
    """
    Store messages of users.raw (OUTCOME), each time that a batch of them is collected.

    It is part of the query: pickled once, and not planned a second time in each batch.
    """
    return messages.select(*seen.COLUMNS).mapInArrow(lambda parts: store(parts, sink), OUTCOME)


def batch_writer(sink: Sink, stopping: threading.Event, reached: Reached) -> Callable[[DataFrame, int], None]:
    """
    Return what `foreachBatch` calls with each micro-batch of `outcomes`.

    When it returns, every record is stored or set aside, and counted in the ledger. `reached` is told each kill point.
    """
    waiting = retry.policy("mongodb", (*STORE_DOWN, NotSetAside), stopping=stopping)
    database = connected(sink)

    def once(batch: DataFrame) -> list[Outcome]:
        with report.attempt(RAW, report.MONGODB, COLLECTION, errors=STORE_DOWN) as told:
            database.command("ping")  # asked here first: no task is begun for a store that is known to be down
            found = [_outcome.decode(row.outcome) for row in batch.collect()]
            told.rows = sum(one.inserted for one in found)
            for one in found:  # also of an attempt that failed in another part: they are in the store
                report.arrived(RAW, one.seen.fetched, one.seen.traced, one.ended_ns)
            if failed := [one for one in found if one.not_stored]:
                raise NotStored(failed[0].not_stored)
            if failed := [one for one in found if one.not_set_aside]:
                raise NotSetAside(failed[0].not_set_aside)
        return found

    def account(batch_id: int, whole: Seen) -> None:
        with report.attempt(RAW, report.MONGODB, LEDGER, errors=STORE_DOWN) as told:
            last = read_ledger(database)
            keep_ledger(database, ledger.after(last, batch_id, whole.counted, whole.begins, whole.ends))
            told.rows = 1 + keep_canary(database, whole.canary)

    def write(batch: DataFrame, batch_id: int) -> None:
        with report.batch(RAW, batch_id) as told:
            reached(BEFORE_USERS)
            found = waiting(once, batch)
            reached(BEFORE_RAW_LEDGER)
            whole = reduce(Seen.plus, (one.seen for one in found), NOTHING)
            waiting(account, batch_id, whole)
            writes = [written(one) for one in found if one.seen.counted.read]
            report.done(told, whole, whole.counted, writes, seconds(writes))
        log.info("batch stored", lane=RAW, batch=batch_id, **msgspec.structs.asdict(whole.counted))
        reached(BEFORE_RAW_COMMIT)

    return write


def written(outcome: Outcome) -> report.Written:
    """The part's write, as its journeys tell it."""
    rows = outcome.seen.counted.users + outcome.seen.counted.duplicates
    times = outcome.began_ns, outcome.ended_ns
    return report.Written(report.MONGODB, COLLECTION, rows, *times, outcome.seen.journeys)


def seconds(writes: Sequence[report.Written]) -> float:
    """From the first part's write to the end of the last one's: the parts are written side by side."""
    if not writes:
        return 0.0
    return (max(one.ended_ns for one in writes) - min(one.began_ns for one in writes)) / 1e9


def store(parts: Iterator[pa.RecordBatch], sink: Sink) -> Iterator[pa.RecordBatch]:
    """Write one partition's records, on an executor; yield an Outcome for each part; after a failure no more."""
    seen.settled(RAW)
    try:
        for part in parts:
            yield _row(store_part(part, sink))
    except PyMongoError as error:
        yield _row(Outcome(not_stored=f"{type(error).__name__}: {str(error)[:200]}"))
    except KafkaError as error:
        _producer.cache_clear()  # an idempotent producer that has failed stays so
        yield _row(Outcome(not_set_aside=f"{type(error).__name__}: {str(error)[:200]}"))


def _row(outcome: Outcome) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([msgspec.json.encode(outcome)], pa.binary())], names=["outcome"])


_outcome = msgspec.json.Decoder(Outcome)


@dataclass
class Sorted:
    """A part's messages by what they are."""

    users: list[Document] = field(default_factory=list)
    ours: list[bool] = field(default_factory=list)  # of each user
    letters: list[tuple[bytes | None, bytes, str, str]] = field(default_factory=list)
    traced: dict[int, str] = field(default_factory=dict)
    canaries: int = 0
    canary: Canary | None = None


def sort(part: pa.RecordBatch) -> Sorted:
    """Tell users, canaries and poison apart."""
    found = Sorted()
    for value, key, partition, offset, at, ours, traceparent, journey in seen.messages(part):
        try:
            event = decode(value)
        except PoisonMessage as error:
            found.letters.append((key, without_secrets(value or b""), str(error), f"{USERS}:{partition}:{offset}"))
            continue
        trace_id = seen.trace_id(traceparent)
        if event.canary:
            found.canaries += 1
            canary = Canary(event.user_id, event.fetched_at, at, trace_id) if ours and seen.in_time(event, at) else None
            found.canary = seen.newer(found.canary, canary)
            continue
        found.users.append(document(event, partition, offset, at, trace_id))
        found.ours.append(ours)
        if journey:
            found.traced[seen.micros(event.fetched_at)] = seen.text(traceparent)
    return found


def store_part(part: pa.RecordBatch, sink: Sink) -> Outcome:
    """
    Store what is a user, set aside what is none.

    Raises:
        PyMongoError, KafkaError: a store or the brokers are down; the same part may be written again.
    """
    database = connected(sink)
    found = sort(part)
    if found.letters:
        set_aside(_producer(sink), found.letters)
    began_ns = time.time_ns()
    known: set[int] = set()
    if found.users:
        known = insert(database, found.users)
        show_newest(database, [user for n, user in enumerate(found.users) if n not in known])
    ended_ns = time.time_ns()
    inserted = len(found.users) - len(known)
    new = [user for n, user in enumerate(found.users) if found.ours[n] and n not in known]
    again = [found.users[n] for n in known]
    told = Seen(
        Counted(0, inserted, len(known), len(found.letters), found.canaries).plus(mistaken(database, again)),
        fetched=dict(Counter(seen.micros(user["fetched_at"]) for user in new)),
        traced=found.traced,
        canary=found.canary,
    )
    return Outcome(seen.of(part).plus(told), inserted, began_ns, ended_ns)


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
def _producer(brokers: access.Kafka) -> KafkaProducer:
    return KafkaProducer(
        **brokers.kafka(),
        acks="all",
        enable_idempotence=True,
        max_request_size=2 * MAX_DEAD_LETTER_BYTES,
        allow_auto_create_topics=False,
        bootstrap_timeout_ms=5_000,
    )
