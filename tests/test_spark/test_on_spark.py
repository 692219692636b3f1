"""What the lanes ask of Spark, on Spark itself: headers taken apart, and executors' counts that reach the driver."""

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from pyspark.sql import Row, SparkSession

from observability.tracing import JOURNEY, TRACEPARENT, TRACESTATE
from services.contract import ROW, Source, UserEvent, encode
from services.evidence import User, expected_sums
from services.records import parse
from services.simulator import people
from spark import raw, seen, session, stats
from spark.contract import DIMENSIONS, Counted
from spark.seen import Journey

pytestmark = [pytest.mark.engines, pytest.mark.timeout(180)]

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
RECORDS = (
    "key binary, value binary, partition int, offset long, timestamp timestamp, "
    "headers array<struct<key: string, value: binary>>"
)


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    place = tmp_path_factory.mktemp("spark")
    made = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.local.dir", str(place))
        .config("spark.sql.warehouse.dir", str(place / "warehouse"))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.streaming.noDataMicroBatches.enabled", "false")
        .getOrCreate()
    )
    yield made
    made.stop()


def flat(spark: SparkSession, headers: list[list[tuple[str, bytes | None]] | None]) -> list[Row]:
    rows = [(None, b"", 0, n, NOW, one) for n, one in enumerate(headers)]
    return session.flat(spark.createDataFrame(rows, RECORDS)).collect()


def test_headers_become_three_flat_columns(spark):
    found = flat(spark, [[(ROW, b"o:1"), (TRACEPARENT, PARENT), (TRACESTATE, JOURNEY.encode())], [(ROW, b"o:2")], None])
    assert [(one.ours, one.traceparent, one.journey) for one in found] == [
        (True, PARENT, True),
        (True, None, False),
        (False, None, False),
    ]


HOSTILE: list[list[tuple[str, bytes | None]]] = [
    [],
    [("", None)],
    [(ROW, None), (TRACEPARENT, None), (TRACESTATE, None)],
    [(TRACEPARENT, PARENT), (TRACEPARENT, None), (TRACEPARENT, PARENT[::-1])],
    [(TRACEPARENT, b"\xff" * 55), (TRACESTATE, b"\xff")],
    [(TRACEPARENT, b"x" * 1_000_000), (TRACESTATE, JOURNEY.encode() * 100_000), ("k" * 100_000, b"")],
    [(TRACEPARENT, PARENT[:-1]), (TRACESTATE, JOURNEY.encode())],
    [(TRACEPARENT, b"0" * 55), (TRACESTATE, JOURNEY.encode())],
    [(f"h{n}", b"x" * 100) for n in range(2000)],
]


def test_hostile_headers_go_no_further_than_spark(spark):
    found = flat(spark, HOSTILE)
    assert [one.traceparent for one in found].count(PARENT) == 1
    assert all(len(one.traceparent or b"") in (0, 55) for one in found)
    assert [seen.trace_id(one.traceparent) for one in found if one.traceparent != PARENT] == [""] * (len(HOSTILE) - 1)


def event(n: int, *, canary: bool = False) -> UserEvent:
    record = people.users("accumulated", 1, 20, (), today=date(2026, 11, 24))[n]
    made = parse(json.dumps(record).encode(), Source("accumulated", 1, 20), NOW, 262_144)
    return msgspec.structs.replace(made, canary=canary)


def test_what_the_stats_lane_saw_reaches_the_driver_batch_by_batch(spark, tmp_path: Path):
    """Also of a batch with nobody in it: canaries and poison leave no rows, and are told all the same."""
    ours = [(ROW, b"o:1"), (TRACEPARENT, PARENT), (TRACESTATE, JOURNEY.encode())]
    batches = [
        [
            (None, encode(event(0)), 0, 10, NOW, ours),
            (None, encode(event(1)), 1, 20, NOW, []),
            (None, encode(event(0)), 1, 21, NOW, ours),
            (None, b"no json", 1, 22, NOW, [*ours, *HOSTILE[5]]),
        ],
        [(None, encode(event(2, canary=True)), 0, 11, NOW, ours), (None, None, 0, 12, NOW, None)],
    ]
    noted = spark.sparkContext.accumulator({}, seen.Noted())
    told = []

    def write(batch, _number):
        noted.value = {}
        told.append(({row.dimension: row.users for row in batch.collect()}, seen.whole(noted.value)))

    def run():
        records = spark.readStream.schema(RECORDS).option("maxFilesPerTrigger", 1).parquet(str(tmp_path / "topic"))
        lane = stats.by_minute(session.flat(records), 30, noted).writeStream.outputMode("update").foreachBatch(write)
        query = lane.option("checkpointLocation", str(tmp_path / "lane")).trigger(availableNow=True).start()
        query.awaitTermination()

    for rows in batches:
        spark.createDataFrame(rows, RECORDS).coalesce(1).write.mode("append").parquet(str(tmp_path / "topic"))
        run()
    (summed, one), (nobody, two) = told
    assert (summed["all"], nobody) == (2, {})
    assert one.counted == Counted(read=4, poison=1, ours=3)
    assert (one.begins, one.ends) == ({0: 10, 1: 20}, {0: 11, 1: 23})
    assert one.fetched == {seen.micros(NOW): 2}
    assert set(one.journeys) == {Journey(PARENT.decode(), 0, 10), *(Journey(PARENT.decode(), 1, n) for n in (21, 22))}
    assert two.counted == Counted(read=2, poison=1, canaries=1, ours=1)
    assert two.canary == seen.Canary(event(2).user_id, NOW, NOW, PARENT.decode().split("-")[1])


def test_a_user_is_known_until_the_watermark_has_passed_by_a_minute_and_no_longer(spark, tmp_path: Path):
    (topic := tmp_path / "topic").mkdir()
    records = spark.readStream.schema(RECORDS).option("maxFilesPerTrigger", 1).parquet(str(topic))
    noted = spark.sparkContext.accumulator({}, seen.Noted())
    counted: list[int] = []

    def write(batch, _number):
        counted.append(sum(row.users for row in batch.collect() if row.dimension == "all"))

    lane = stats.by_minute(session.flat(records), 10, noted).writeStream.outputMode("update").foreachBatch(write)
    known = []
    for n, minute in enumerate((0, 9, 11.5, 12, 13)):  # somebody new each time, and always the first one
        at = NOW + timedelta(minutes=minute)
        rows = [(None, encode(event(one)), 0, 2 * n + one, at, []) for one in {0, n}]
        spark.createDataFrame(rows, RECORDS).coalesce(1).write.mode("append").parquet(str(topic))
        query = lane.option("checkpointLocation", str(tmp_path / "lane")).trigger(availableNow=True).start()
        query.awaitTermination()
        known += [one.numRowsTotal for one in query.lastProgress.stateOperators if "dedupe" in one.operatorName]
    assert known == [1, 2, 3, 3, 5], "the first is let go after the batch that begins with their time a minute behind"
    assert counted == [1, 1, 1, 1, 2]


def test_sums_are_those_that_the_audit_expects_also_of_all_dimensions_at_once(spark):
    events = [event(n) for n in range(20)]
    facts = [(e.user_id, NOW, NOW, e.location.country, e.gender, e.nat, e.dob.age) for e in events]
    found = {
        (row.minute.replace(tzinfo=UTC), (row.dimension, row.value)): (row.users, row.age_sum)
        for row in stats.summed(spark.createDataFrame(facts, stats.FACTS)).collect()
    }
    users = [User(NOW, e.location.country, e.gender, e.dob.age, e.nat) for e in events]
    assert found == expected_sums(users, NOW + timedelta(minutes=1))
    assert {name for _, (name, _) in found} == set(DIMENSIONS)


def test_a_part_is_sorted_into_users_letters_and_canaries(spark):
    rows = [
        (b"k", encode(event(0)), 2, 5, NOW, [(ROW, b"o:1"), (TRACEPARENT, PARENT)]),
        (b"k", encode(event(1, canary=True)), 2, 6, NOW, [(ROW, b"o:2")]),
        (b"k", encode(event(2, canary=True)), 2, 7, NOW, []),  # from outside: no newest canary
        (b"k", b"no json", 2, 8, NOW, []),
    ]
    table = session.flat(spark.createDataFrame(rows, RECORDS)).toArrow().combine_chunks()
    found = raw.sort(table.to_batches()[0])
    assert [(one["_id"], one["trace_id"], one["topic"]) for one in found.users] == [
        (event(0).user_id, PARENT.decode().split("-")[1], {"partition": 2, "offset": 5})
    ]
    assert (found.canaries, found.canary.user_id) == (2, event(1).user_id)
    assert [origin for _, _, _, origin in found.letters] == ["users.raw:2:8"]
