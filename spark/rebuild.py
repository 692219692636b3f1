"""
Sum the users of MongoDB anew, in one Spark job, and put right what Cassandra has else: minutes, days, all time.

    CannotRebuild   MongoDB does not hold all that the stats lane has summed; nothing was changed

The lanes must not run meanwhile (`make rebuild` stops them, and starts them again). First the raw lane reads what is on
the topic. Then exactly those users are summed whose messages the stats lane has read, so that it goes on from its own
state as if nothing had been: its next batch writes the same values. Only rows that differ are written, so a second run
writes none. Days whose users MongoDB was told to forget (VIGIE_USERS_RETENTION_DAYS) are left as they are, and minutes
keep no longer than they would have.

Who was forgotten stays in the sums: what a row has more than MongoDB's users, it keeps, up to as many as were forgotten
of its minute.
"""

import argparse
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from pathlib import Path

import pyarrow as pa
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from observability import access, lock, logs, settings
from spark import lanes, session, stats, stores
from spark.contract import ALL_TIME, DATABASE, EVERYONE, FORGOTTEN_AT, KEYSPACE, USERS, Ledger
from spark.documents import Document, read_ledger
from spark.stats import Tables
from spark.totals import NOBODY, Key, Minute, Sums

log = logs.Log(__name__)

BOUNDS = "low string, high string"  # of ids; an empty one is none
ROWS = 1000
SCAN_S = 600  # the embedded server reads some three thousand users a second
SHOWN = {"appended_at": 1, "fetched_at": 1, "topic": 1, "gender": 1, "nat": 1, "location.country": 1, "dob.age": 1}
Offsets = Mapping[int, int]


class CannotRebuild(Exception):
    """MongoDB does not hold all that the stats lane has summed; the text says what is missing."""


@dataclass(frozen=True)
class Kept:
    """What the stores keep: the first day whose users are all in MongoDB, and how long a minute stays in Cassandra."""

    first_day: date
    minute: timedelta

    @classmethod
    def of(cls, wanted: stores.Settings, now: datetime) -> "Kept":
        first = now.date() - timedelta(days=wanted.users_days) if wanted.users_days else date.min
        return cls(first, timedelta(days=wanted.minutes_days))


def parts(n: int) -> list[tuple[str, str]]:
    """Bounds that cut all ids (in hexadecimal, evenly spread) into `n` parts, at most 256."""
    cuts = [f"{i * 256 // n:02x}" for i in range(1, n)]
    return list(zip(["", *cuts], [*cuts, ""], strict=True))


def facts(bounds: Iterator[pa.RecordBatch], store: access.Mongo, ends: Offsets | None) -> Iterator[pa.RecordBatch]:
    """The stored users between these ids whose messages lie before `ends`, as FACTS, on an executor."""
    with MongoClient[Document](**store.mongo(SCAN_S), tz_aware=True) as client:
        for part in bounds:
            for low, high in zip(part["low"].to_pylist(), part["high"].to_pylist(), strict=True):
                limits = ({"$gte": low} if low else {}) | ({"$lt": high} if high else {})
                wanted = {FORGOTTEN_AT: {"$exists": False}} | ({"_id": limits} if limits else {})
                found = client[DATABASE][USERS].find(wanted, SHOWN, batch_size=ROWS)
                rows: list[tuple[object, ...]] = []
                for one in found:
                    place = one["topic"]
                    if ends is None or place["offset"] < ends.get(place["partition"], 0):
                        rows.append(fact(one))
                    if len(rows) == ROWS:
                        yield stats.columns(rows)
                        rows = []
                yield stats.columns(rows)


def fact(user: Document) -> tuple[object, ...]:
    """What is summed of a stored user."""
    times = user["appended_at"], user["fetched_at"]
    return (user["_id"], *times, user["location"]["country"], user["gender"], user["nat"], user["dob"]["age"])


def summed(spark: SparkSession, store: access.Mongo, ends: Offsets | None) -> Iterator[Minute]:
    """Every minute of every dimension and value, in the order of time."""
    bounds = parts(min(256, spark.sparkContext.defaultParallelism))
    users = spark.createDataFrame(bounds, BOUNDS).mapInArrow(lambda some: facts(some, store, ends), stats.FACTS)
    for row in stats.summed(users).orderBy("minute").toLocalIterator():
        yield stats.minute(row)


def forgotten(client: MongoClient[Document]) -> Counter[datetime]:
    """How many users of each minute were forgotten."""
    there = client[DATABASE][USERS].find({FORGOTTEN_AT: {"$exists": True}}, {"appended_at": 1, "topic": 1})
    times = (one["appended_at"] for one in there if one["topic"])  # who was forgotten ahead is in no minute
    return Counter(at.replace(second=0, microsecond=0, tzinfo=None) for at in times)


class Repair:
    """Writes what differs, and counts it; `forgotten` says how many of each minute are in no document any more."""

    def __init__(
        self, tables: Tables, kept: Kept, now: datetime, forgotten: Mapping[datetime, int] | None = None
    ) -> None:
        self.tables, self.kept, self.now = tables, kept, now.replace(tzinfo=None)
        self.forgotten = forgotten or {}
        self.counted: Counter[str] = Counter()
        prepare = tables.session.prepare
        self._put = prepare(
            f"INSERT INTO {KEYSPACE}.stats_by_minute (dimension, day, minute, value, users, age_sum) "
            "VALUES (?,?,?,?,?,?) USING TTL ?"
        )
        self._drop = prepare(
            f"DELETE FROM {KEYSPACE}.stats_by_minute WHERE dimension=? AND day=? AND minute=? AND value=?"
        )
        self._drop_total = prepare(f"DELETE FROM {KEYSPACE}.totals WHERE period=? AND dimension=? AND value=?")

    def all(self, minutes: Iterable[Minute]) -> Counter[str]:
        """
        Make Cassandra hold these minutes, which come in the order of time, and their totals.

        Raises:
            NoHostAvailable, DriverException: it is down or late; the same call may be made again.
        """
        stored = self.tables.days()
        days = {day: sums for day, sums in stored.items() if day < self.kept.first_day}
        for day, ones in groupby(minutes, key=lambda one: one.minute.date()):
            if day >= self.kept.first_day:
                days[day] = self.day(day, list(ones), stored.get(day, {}))
        oldest = min((day for day in days if day >= self.kept.first_day), default=date.max)
        for day in sorted(stored.keys() - days.keys()):
            if day < oldest:  # retention was shorter once: MongoDB knows nothing before its oldest user
                days[day] = dict(stored[day])
            else:
                self.day(day, [], stored[day])
        wanted = added((key, sums) for of_day in days.values() for key, sums in of_day.items())
        self.totals(ALL_TIME, wanted, self.tables.totals(ALL_TIME))
        return self.counted

    def day(self, day: date, minutes: Sequence[Minute], stored: Mapping[Key, Sums]) -> dict[Key, Sums]:
        """Make one day right; return its totals."""
        wanted = {(one.dimension, one.minute, one.value): one.sums for one in minutes}
        found = {(one.dimension, one.minute, one.value): one.sums for one in self.tables.minutes_of(day)}
        gone = {at: n for at, n in self.forgotten.items() if at.date() == day}
        for at, n in gone.items():  # where no row is left, how many they were is known, and no more
            key = (EVERYONE, at, EVERYONE)
            whole = wanted.get(key, NOBODY).plus(Sums(n, 0))
            if found.get(key, NOBODY).users < whole.users:
                wanted[key] = whole
        for key, there in found.items():
            if 0 < there.less(wanted.get(key, NOBODY)).users <= self.forgotten.get(key[1], 0):
                wanted[key] = there
        differ = [(key, wanted[key], self._left_s(key[1])) for key in wanted if found.get(key) != wanted[key]]
        puts = [(self._put, (d, day, at, value, *sums, left)) for (d, at, value), sums, left in differ if left > 0]
        drops = [(self._drop, (d, day, at, value)) for d, at, value in found.keys() - wanted.keys()]
        self.tables.put([*puts, *drops])
        sums = added(((dimension, value), one) for (dimension, _, value), one in wanted.items())
        if self._left_s(datetime.combine(day, time())) <= 0:  # minutes have expired: only the totals have them
            most = sum(gone.values())
            sums |= {key: one for key, one in stored.items() if 0 <= one.less(sums.get(key, NOBODY)).users <= most}
        self.totals(str(day), sums, stored)
        self.counted += Counter(minutes=len(wanted), written=len(puts), removed=len(drops))
        return sums

    def totals(self, period: str, wanted: Mapping[Key, Sums], found: Mapping[Key, Sums]) -> None:
        puts = [
            (self.tables.put_total, (period, *key, *sums)) for key, sums in wanted.items() if found.get(key) != sums
        ]
        drops = [(self._drop_total, (period, *key)) for key in found.keys() - wanted.keys()]
        self.tables.put([*puts, *drops])
        self.counted += Counter(totals=len(wanted), written=len(puts), removed=len(drops))

    def _left_s(self, minute: datetime) -> int:
        return int((minute + self.kept.minute - self.now).total_seconds())


def added(sums: Iterable[tuple[Key, Sums]]) -> dict[Key, Sums]:
    total: dict[Key, Sums] = defaultdict(lambda: NOBODY)
    for key, one in sums:
        total[key] = total[key].plus(one)
    return dict(total)


def summed_up_to(raw: Ledger | None, summed_so_far: Ledger | None) -> Offsets | None:
    """
    Up to where the stats lane has read each partition; None if it has lost its ledger, so that every user counts.

    Raises:
        CannotRebuild: MongoDB has not so much.
    """
    if raw is None:
        raise CannotRebuild("MongoDB has no ledger: no user was ever stored there")
    if summed_so_far is None:
        return None
    ends = summed_so_far.furthest or summed_so_far.ends
    short = [n for n, end in ends.items() if raw.ends.get(n, 0) < end]
    if short:
        raise CannotRebuild(f"the sums have messages of partitions {short} of which MongoDB has no users")
    return ends


def read_on(spark: SparkSession, env: Mapping[str, str]) -> None:
    """Let the raw lane read and store what is on the topic now."""
    raw = lanes.described(env, threading.Event())[0]
    rows, writer = raw.make(session.messages(spark, settings.read(session.Settings, env)))
    place = lanes.checkpoint(Path(env["VIGIE_STATE"]), raw.name, env["VIGIE_CHECKPOINTS"])
    writing = rows.writeStream.queryName(raw.name).outputMode("update").foreachBatch(writer)
    writing.option("checkpointLocation", str(place)).trigger(availableNow=True).start().awaitTermination()


def rebuild(env: Mapping[str, str]) -> Counter[str]:
    """
    Make Cassandra's sums those of MongoDB's users; return how many rows there are, were written and removed.

    Raises:
        CannotRebuild: nothing was changed.
        NoHostAvailable, DriverException, PyMongoError, PySparkException: a store, or the brokers, are down or late; the
            same call may be made again.
    """
    wanted, of_session = settings.read(stores.Settings, env), settings.read(session.Settings, env)
    open_session = stores.cassandra(wanted)
    with MongoClient[Document](**wanted.mongo(SCAN_S)) as client:
        client.admin.command("ping")  # the raw lane would wait for it as long as it takes
        spark = session.start(of_session)
        try:
            read_on(spark, env)
            tables = Tables(open_session, settings.read(lanes.Settings, env).cassandra_concurrency)
            ends = summed_up_to(read_ledger(client[DATABASE]), tables.ledger())
            now = datetime.now(UTC)
            repair = Repair(tables, Kept.of(wanted, now), now, forgotten(client))
            return repair.all(summed(spark, wanted, ends))
        finally:
            spark.stop()
            open_session.cluster.shutdown()


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m spark.rebuild", description=__doc__).parse_args(argv)
    logs.start("rebuild")
    try:
        env = settings.environ()
        with lanes.alone(Path(env["VIGIE_STATE"])):
            found = rebuild(env)
    except (settings.WrongSetting, session.JarsMissing, lock.Held) as error:
        print(error, file=sys.stderr)
        return 2
    except (CannotRebuild, *stats.STORE_DOWN, PyMongoError, PySparkException) as error:
        print(f"cannot rebuild: {type(error).__name__}: {str(error)[:1000]}", file=sys.stderr)
        return 1
    print(
        f"{found['minutes']:,} minutes and {found['totals']:,} totals as MongoDB has them: "
        f"{found['written']:,} written, {found['removed']:,} removed, the others were right"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
