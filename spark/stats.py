"""
The stats lane: users.raw to Cassandra, each user counted once in every dimension.

Duplicates are dropped within the watermark; windows are minutes of the broker's append time. Every row that is written
is the full value of its key, so a batch may be written twice. The store being down makes the batch wait.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pyarrow as pa
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session
from cassandra.concurrent import execute_concurrent
from cassandra.query import BatchStatement, BatchType, PreparedStatement
from pyspark.accumulators import Accumulator
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F  # noqa: N812 — its usual name

from observability import retry
from observability.logs import Log
from services.contract import PoisonMessage, decode
from spark import ledger, report, seen
from spark.contract import (
    AGE,
    AGE_BAND,
    ALL_TIME,
    BEFORE_MINUTES,
    BEFORE_STATS_COMMIT,
    BEFORE_STATS_LEDGER,
    BEFORE_TOTALS,
    BETWEEN,
    COUNTRY,
    CROSS,
    CROSSED,
    DIMENSIONS,
    EVERYONE,
    GENDER,
    KEYSPACE,
    NATIONALITY,
    NEWEST_ID,
    STATS,
    Counted,
    Ledger,
)
from spark.points import Reached
from spark.seen import Canary, Parts, Seen
from spark.totals import Key, Minute, Sums, Totals

log = Log(__name__)

FACTS = "user_id string, at timestamp, fetched_at timestamp, country string, gender string, nationality string, age int"
_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("fetched_at", pa.timestamp("us", "UTC")),
        ("country", pa.string()),
        ("gender", pa.string()),
        ("nationality", pa.string()),
        ("age", pa.int32()),
    ]
)
SLACK = {"spark.watermarkDelayMs": 60_000}  # for how long a user is kept when the watermark has passed
AT_ONCE = 50  # rows of a batch: some 3 kB; at 5 Cassandra begins to warn
Write = tuple[PreparedStatement, tuple[object, ...]]
STORE_DOWN = (NoHostAvailable, DriverException)


def facts(parts: Iterator[pa.RecordBatch], noted: Accumulator[Parts]) -> Iterator[pa.RecordBatch]:
    """
    What is counted of each user (FACTS), on an executor; poison is left to the raw lane, which sets it aside.

    What is not summed is `noted` here, before copies are dropped: who was seen, from where to where.
    """
    seen.settled(STATS)
    for part in parts:
        rows, beside = sort(part)
        noted.add(seen.noted(seen.of(part).plus(beside)))
        yield columns(rows)


def columns(rows: Sequence[tuple[object, ...]]) -> pa.RecordBatch:
    """Rows of FACTS as Arrow has them."""
    values = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
    arrays = [pa.array(some, field.type) for some, field in zip(values, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def sort(part: pa.RecordBatch) -> tuple[list[tuple[object, ...]], Seen]:
    """The part's users as FACTS, and what the lane has to tell of it beside them."""
    rows: list[tuple[object, ...]] = []
    fetched: Counter[int] = Counter()
    traced: dict[int, str] = {}
    canary: Canary | None = None
    poison = canaries = 0
    for value, _, _, _, at, ours, traceparent, journey in seen.messages(part):
        try:
            event = decode(value)
        except PoisonMessage:
            poison += 1
            continue
        if event.canary:
            canaries += 1
            if ours and seen.in_time(event, at):
                one = Canary(event.user_id, event.fetched_at, at, seen.trace_id(traceparent))
                canary = seen.newer(canary, one)
            continue
        where = event.location.country
        fetched_at = min(event.fetched_at, at)  # who says tomorrow is not the newest till then
        rows.append((event.user_id, at, fetched_at, where, event.gender, event.nat, event.dob.age))
        if ours:
            fetched[seen.micros(event.fetched_at)] += 1
        if journey:
            traced[seen.micros(event.fetched_at)] = seen.text(traceparent)
    counted = Counted(poison=poison, canaries=canaries)
    return rows, Seen(counted, fetched=dict(fetched), traced=traced, canary=canary)


def by_minute(messages: DataFrame, dedup_minutes: int, noted: Accumulator[Parts]) -> DataFrame:
    """
    Count messages of users.raw, as `summed` has it.

    A user is counted once if its copies are appended within `dedup_minutes` of each other, by partitions that are read
    no further apart than SLACK. Spark would keep it for the column's delay beyond the watermark, twice as long, and
    every batch looks at each user that is kept.
    """
    return summed(
        messages.select(*seen.COLUMNS)
        .mapInArrow(lambda parts: facts(parts, noted), FACTS)
        .withWatermark("at", f"{dedup_minutes} minutes")
        .withMetadata("at", SLACK)
        .dropDuplicatesWithinWatermark(["user_id"])
    )


def summed(users: DataFrame) -> DataFrame:
    """Count users (FACTS): (minute, dimension, value) -> users, age_sum, and the newest `fetched_at` among them."""
    band = (F.floor(F.col("age") / AGE_BAND) * AGE_BAND).cast("string")
    values: dict[str, Column] = {
        EVERYONE: F.lit(EVERYONE),
        COUNTRY: F.col("country"),
        GENDER: F.col("gender"),
        AGE: band,
        NATIONALITY: F.col("nationality"),
    }
    values[CROSS] = F.concat_ws(BETWEEN, *(values[name] for name in CROSSED))
    facets = [F.struct(F.lit(name).alias("dimension"), values[name].alias("value")) for name in DIMENSIONS]
    return (
        users.select("at", "fetched_at", "age", F.explode(F.array(*facets)).alias("facet"))
        .groupBy(F.window("at", "1 minute").alias("window"), "facet.dimension", "facet.value")
        .agg(F.count("*").alias("users"), F.sum("age").alias("age_sum"), F.max("fetched_at").alias("newest"))
        .select(F.col("window.start").alias("minute"), "dimension", "value", "users", "age_sum", "newest")
    )


class Tables:
    """The lane's prepared statements on an open session, and their results as values."""

    def __init__(self, session: Session, concurrency: int) -> None:
        self.session, self.concurrency = session, concurrency
        self.put_minute = session.prepare(
            f"INSERT INTO {KEYSPACE}.stats_by_minute (dimension, day, minute, value, users, age_sum) "
            "VALUES (?,?,?,?,?,?)"
        )
        self.put_total = session.prepare(
            f"INSERT INTO {KEYSPACE}.totals (period, dimension, value, users, age_sum) VALUES (?,?,?,?,?)"
        )
        self.put_canary = session.prepare(
            f"INSERT INTO {KEYSPACE}.canaries (id, user_id, fetched_at, summed_at) VALUES (?,?,?,?) USING TIMESTAMP ?"
        )
        self.put_ledger = session.prepare(f"INSERT INTO {KEYSPACE}.ledger (lane, body) VALUES (?,?)")
        self.put_lane = session.prepare(f"INSERT INTO {KEYSPACE}.lanes (lane, summed_at, newest) VALUES (?,?,?)")
        self.get_minutes = session.prepare(
            f"SELECT minute, value, users, age_sum FROM {KEYSPACE}.stats_by_minute WHERE dimension=? AND day=?"
        )
        self.get_totals = session.prepare(
            f"SELECT dimension, value, users, age_sum FROM {KEYSPACE}.totals WHERE period=?"
        )

    def minutes_of(self, day: date) -> Iterator[Minute]:
        """Every stored minute of the day, in every dimension."""
        for dimension in DIMENSIONS:
            for row in self.session.execute(self.get_minutes, (dimension, day)):
                yield Minute(dimension, row.minute, row.value, Sums(row.users, row.age_sum))

    def ledger(self) -> Ledger | None:
        """The lane's ledger; None before its first batch."""
        row = self.session.execute(f"SELECT body FROM {KEYSPACE}.ledger WHERE lane=%s", (STATS,)).one()
        return msgspec.json.decode(row.body, type=Ledger) if row else None

    def days(self) -> dict[date, dict[Key, Sums]]:
        """The stored totals of every day."""
        periods = [row.period for row in self.session.execute(f"SELECT DISTINCT period FROM {KEYSPACE}.totals")]
        return {date.fromisoformat(period): self.totals(period) for period in periods if period != ALL_TIME}

    def totals(self, period: str) -> dict[Key, Sums]:
        """The stored totals of a day, or of ALL_TIME."""
        rows = self.session.execute(self.get_totals, (period,))
        return {(row.dimension, row.value): Sums(row.users, row.age_sum) for row in rows}

    def put(self, writes: Iterable[Write]) -> None:
        """
        Write rows, those of one partition together, `concurrency` at a time.

        Raises:
            NoHostAvailable, DriverException: the store is down or late; the same rows may be written again.
        """
        execute_concurrent(self.session, together(writes), concurrency=self.concurrency, raise_on_first_error=True)


def together(writes: Iterable[Write]) -> list[tuple[Any, tuple[object, ...] | None]]:
    """
    The rows of one partition of one table as batches of up to AT_ONCE: Cassandra takes each as one mutation.

    A micro-batch of a few users changes some hundred sums, in seven partitions.
    """
    parts: dict[tuple[object, ...], list[Write]] = {}
    for statement, values in writes:
        key = (values[n] for n in statement.routing_key_indexes or ())
        parts.setdefault((statement.query_id, *key), []).append((statement, values))
    made: list[tuple[Any, tuple[object, ...] | None]] = []
    for rows in parts.values():
        for at in range(0, len(rows), AT_ONCE):
            some = rows[at : at + AT_ONCE]
            if len(some) == 1:
                made += some
                continue
            batch = BatchStatement(BatchType.UNLOGGED)
            for statement, values in some:
                batch.add(statement, values)
            made.append((batch, None))
    return made


def batch_writer(
    connect: Callable[[], Session],
    concurrency: int,
    noted: Accumulator[Parts],
    stopping: threading.Event,
    reached: Reached,
) -> Callable[[DataFrame, int], None]:
    """
    Return what `foreachBatch` calls.

    When it returns, every minute that the batch touched is stored and totalled, and the batch is in the ledger.
    `reached` is told each kill point.
    """
    waiting = retry.policy("cassandra", STORE_DOWN, stopping=stopping)
    tables = waiting(lambda: Tables(connect(), concurrency))
    totals = waiting(lambda: Totals(tables.days(), tables.minutes_of))

    def put(table: str, writes: Sequence[Write]) -> report.Attempt:
        with report.attempt(STATS, report.CASSANDRA, table, STORE_DOWN) as told:
            tables.put(writes)
            told.rows = len(writes)
        return told

    def keep_ledger(batch_id: int, whole: Seen) -> report.Attempt:
        with report.attempt(STATS, report.CASSANDRA, "ledger", STORE_DOWN) as told:
            one = ledger.after(tables.ledger(), batch_id, whole.counted, whole.begins, whole.ends)
            writes = [(tables.put_ledger, (STATS, msgspec.json.encode(one).decode())), *newest_canary(tables, whole)]
            tables.put(writes)
            told.rows = len(writes)
        return told

    def write(batch: DataFrame, batch_id: int) -> None:
        with report.batch(STATS, batch_id) as told:
            noted.value = {}
            rows = batch.collect()
            whole = seen.whole(noted.value)
            minutes = [minute(row) for row in rows]
            done: list[report.Attempt] = []
            reached(BEFORE_MINUTES)
            if rows:
                done.append(waiting(put, "stats_by_minute", minutes_to_put(tables, minutes)))
                reached(BEFORE_TOTALS)
                sums = waiting(totals.take, minutes)
                newest = max(row.newest for row in rows)
                done.append(waiting(put, "totals", totals_to_put(tables, *sums, newest)))
                # copies that were dropped may be in it
                report.arrived(STATS, whole.fetched, whole.traced, done[-1].ended_ns)
            reached(BEFORE_STATS_LEDGER)
            done.append(waiting(keep_ledger, batch_id, whole))
            report.done(told, whole, became(whole.counted), [written(done, whole)], sum(one.seconds for one in done))
        log.info("batch summed", lane=STATS, batch=batch_id, minutes=len(minutes), read=whole.counted.read)
        reached(BEFORE_STATS_COMMIT)

    return write


def minutes_to_put(tables: Tables, minutes: Iterable[Minute]) -> list[Write]:
    return [(tables.put_minute, (m.dimension, m.minute.date(), m.minute, m.value, *m.sums)) for m in minutes]


def totals_to_put(
    tables: Tables, days: Mapping[tuple[date, Key], Sums], all_time: Mapping[Key, Sums], newest: datetime
) -> list[Write]:
    """The totals that changed, and when that was."""
    sums = [(str(day), *key, *total) for (day, key), total in days.items()]
    sums += [(ALL_TIME, *key, *total) for key, total in all_time.items()]
    return [
        *((tables.put_total, values) for values in sums),
        (tables.put_lane, (STATS, datetime.now(UTC), newest.astimezone(UTC))),
    ]


def newest_canary(tables: Tables, whole: Seen) -> list[Write]:
    """The batch's newest canary; Cassandra keeps the one that was fetched last, since that is the write's time."""
    if whole.canary is None:
        return []
    one = whole.canary
    values = (NEWEST_ID, one.user_id, one.fetched_at.astimezone(UTC), datetime.now(UTC), seen.micros(one.fetched_at))
    return [(tables.put_canary, values)]


def became(counted: Counted) -> Counted:
    """The messages that were users, copies among them: which were dropped the lane cannot tell."""
    return msgspec.structs.replace(counted, users=counted.read - counted.poison - counted.canaries)


def written(done: Sequence[report.Attempt], whole: Seen) -> report.Written:
    """The batch's writes, as its journeys tell them."""
    rows, times = sum(one.rows for one in done), (done[0].began_ns, done[-1].ended_ns)
    return report.Written(report.CASSANDRA, "totals", rows, *times, whole.journeys)


def minute(row: Row) -> Minute:
    """A row of `by_minute` as a value; Cassandra's times are UTC without saying so."""
    start = row.minute.astimezone(UTC).replace(tzinfo=None)
    return Minute(row.dimension, start, row.value, Sums(row.users, row.age_sum))
