"""
The stats lane: users.raw to Cassandra, each user counted once in every dimension.

Duplicates are dropped within the watermark; windows are minutes of the broker's append time. Every row that is written
is the full value of its key, so a batch may be written twice. The store being down makes the batch wait.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime

import pyarrow as pa
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session
from cassandra.concurrent import execute_concurrent
from cassandra.query import PreparedStatement
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F  # noqa: N812 — its usual name

from observability import retry
from observability.logs import Log
from services.contract import PoisonMessage, decode
from spark.contract import AGE, AGE_BAND, ALL_TIME, COUNTRY, DIMENSIONS, EVERYONE, GENDER, KEYSPACE, NATIONALITY, STATS
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
STORE_DOWN = (NoHostAvailable, DriverException)


def facts(parts: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What is counted of each user (FACTS), on an executor; poison is left to the raw lane, which sets it aside."""
    for part in parts:
        rows = []
        for value, at in zip(part.column("value").to_pylist(), part.column("timestamp").to_pylist(), strict=True):
            try:
                event = decode(value)
            except PoisonMessage:
                continue
            where = event.location.country
            rows.append((event.user_id, at, event.fetched_at, where, event.gender, event.nat, event.dob.age))
        columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
        yield pa.RecordBatch.from_arrays(
            [pa.array(c, field.type) for c, field in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
        )


def by_minute(messages: DataFrame, dedup_minutes: int) -> DataFrame:
    """
    Count messages of users.raw: (minute, dimension, value) -> users, age_sum, and the newest `fetched_at` among them.

    A user is counted once if its copies are appended within `dedup_minutes` of each other.
    """
    band = (F.floor(F.col("age") / AGE_BAND) * AGE_BAND).cast("string")
    values: dict[str, Column] = {
        EVERYONE: F.lit(EVERYONE),
        COUNTRY: F.col("country"),
        GENDER: F.col("gender"),
        AGE: band,
        NATIONALITY: F.col("nationality"),
    }
    facets = [F.struct(F.lit(name).alias("dimension"), values[name].alias("value")) for name in DIMENSIONS]
    return (
        messages.select("value", "timestamp")
        .mapInArrow(facts, FACTS)
        .withWatermark("at", f"{dedup_minutes} minutes")
        .dropDuplicatesWithinWatermark(["user_id"])
        .select("at", "fetched_at", "age", F.explode(F.array(*facets)).alias("facet"))
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

    def days(self) -> dict[date, dict[Key, Sums]]:
        """The stored totals of every day."""
        periods = [row.period for row in self.session.execute(f"SELECT DISTINCT period FROM {KEYSPACE}.totals")]
        return {
            date.fromisoformat(period): {
                (row.dimension, row.value): Sums(row.users, row.age_sum)
                for row in self.session.execute(self.get_totals, (period,))
            }
            for period in periods
            if period != ALL_TIME
        }

    def put(self, writes: Iterable[tuple[PreparedStatement, tuple[object, ...]]]) -> None:
        """
        Write rows, `concurrency` at a time.

        Raises:
            NoHostAvailable, DriverException: the store is down or late; the same rows may be written again.
        """
        execute_concurrent(self.session, list(writes), concurrency=self.concurrency, raise_on_first_error=True)


def batch_writer(
    connect: Callable[[], Session], concurrency: int, stopping: threading.Event
) -> Callable[[DataFrame, int], None]:
    """Return what `foreachBatch` calls: when it returns, every minute that the batch touched is stored and totalled."""
    waiting = retry.policy("cassandra", STORE_DOWN, stopping=stopping)
    tables = waiting(lambda: Tables(connect(), concurrency))
    totals = waiting(lambda: Totals(tables.days(), tables.minutes_of))

    def write(batch: DataFrame, batch_id: int) -> None:
        rows = batch.collect()
        if not rows:
            return
        minutes = [minute(row) for row in rows]
        waiting(
            tables.put,
            [(tables.put_minute, (m.dimension, m.minute.date(), m.minute, m.value, *m.sums)) for m in minutes],
        )
        days, all_time = waiting(totals.take, minutes)
        sums = [(str(day), *key, *total) for (day, key), total in days.items()]
        sums += [(ALL_TIME, *key, *total) for key, total in all_time.items()]
        newest = max(row.newest for row in rows)
        waiting(
            tables.put,
            [
                *((tables.put_total, values) for values in sums),
                (tables.put_lane, (STATS, datetime.now(UTC), newest.astimezone(UTC))),
            ],
        )
        log.info("batch summed", lane=STATS, batch=batch_id, minutes=len(minutes), totals=len(sums))

    return write


def minute(row: Row) -> Minute:
    """A row of `by_minute` as a value; Cassandra's times are UTC without saying so."""
    start = row.minute.astimezone(UTC).replace(tzinfo=None)
    return Minute(row.dimension, start, row.value, Sums(row.users, row.age_sum))
