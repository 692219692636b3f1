"""Spark's own account of a batch becomes metrics; a lane that is stuck is seen to fall behind."""

import json
import threading
import time

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError

from observability import access, lag, metrics, names
from services.contract import USERS
from spark import behind
from spark.progress import export, kept_whole, phases, read

PROGRESS = {
    "id": "11111111-1111-1111-1111-111111111111",
    "runId": "22222222-2222-2222-2222-222222222222",
    "name": "stats",
    "timestamp": "2026-11-24T12:00:00.000Z",
    "batchId": 7,
    "batchDuration": 1500,
    "numInputRows": 90,
    "processedRowsPerSecond": 60.0,
    "durationMs": {"triggerExecution": 1500, "addBatch": 1200, "walCommit": 100, "getBatch": 1, "newest": 40},
    "eventTime": {"watermark": "2026-11-24T11:30:00.000Z"},
    "stateOperators": [
        {
            "operatorName": name,
            "numRowsTotal": 10,
            "numRowsUpdated": 1,
            "numRowsRemoved": 0,
            "allUpdatesTimeMs": 1,
            "allRemovalsTimeMs": 1,
            "commitTimeMs": 1,
            "memoryUsedBytes": 1000,
            "numRowsDroppedByWatermark": 2,
            "numShufflePartitions": 2,
            "numStateStoreInstances": 2,
            "customMetrics": {},
        }
        for name in ("dedupe", "stateStoreSave")
    ],
    "sources": [
        {
            "description": "KafkaV2",
            "startOffset": {USERS: {"0": 1, "1": 1}},
            "endOffset": {USERS: {"0": 50, "1": 42}},
            "latestOffset": {USERS: {"0": 60, "1": 42}},
            "numInputRows": 90,
            "inputRowsPerSecond": 1.0,
            "processedRowsPerSecond": 60.0,
        }
    ],
    "sink": {"description": "foreachBatch", "numOutputRows": -1, "metrics": {}},
    "observedMetrics": {},
}


def value(metric: names.Metric, suffix: str = "", **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(metric.name + suffix, {"lane": "stats"} | labels) or 0.0


def test_a_batch_is_exported():
    batch = read(json.dumps(PROGRESS))
    counters = (names.LANE_BATCHES, names.LANE_ROWS, names.LANE_LATE_ROWS)
    before = [value(metric) for metric in counters]
    export(batch, 7)
    assert [value(metric) - was for metric, was in zip(counters, before, strict=True)] == [1, 90, 4]
    assert value(names.LANE_STATE_ROWS) == 20
    assert value(names.LANE_STATE_BYTES) == 2000
    assert value(names.LANE_SNAPSHOT_AGE) == 1
    assert value(names.LANE_WATERMARK) == 1795519800
    assert value(names.LANE_INPUT_RATE) == 0
    assert value(names.LANE_PROCESSED_RATE) == 60
    assert time.time() - value(names.LANE_LAST_BATCH) < 5
    assert batch.ends == {0: 50, 1: 42}


@pytest.mark.parametrize(
    ("versions", "before", "kept"),
    [
        ((), None, 200),  # nothing tells: since this process's first batch
        ((-1, -1), None, 200),
        ((-1, -1), 190, 190),  # the query was started again, and has not kept it yet
        ((198, -1), 190, 190),  # one partition's is as old as before
        ((200, 197), 190, 197),
    ],
)
def test_the_state_was_kept_whole_when_its_oldest_partition_was(versions, before, kept):
    told = {f"SnapshotLastUploaded.partition_{n}_default": version for n, version in enumerate(versions)}
    operators = [one | {"customMetrics": told | {"rocksdbGetCount": 1}} for one in PROGRESS["stateOperators"]]
    batch = read(json.dumps(PROGRESS | {"batchId": 200, "stateOperators": operators}))
    assert kept_whole(batch, before) == kept


def test_phases_that_have_no_name_are_other():
    assert phases({"triggerExecution": 1500, "addBatch": 1200, "walCommit": 100, "getBatch": 1, "newest": 40}) == {
        "addBatch": 1200,
        "walCommit": 100,
        "getBatch": 1,
        "other": 199,
    }


class Brokers:
    """What `lag` asks, and whether the brokers answer."""

    def __init__(self) -> None:
        self.ends, self.since, self.gone, self.hang = {0: 10, 1: 5}, time.time() - 60, False, threading.Event()
        self.hang.set()

    def reader(self, brokers: access.Kafka, patience_s: float) -> "Brokers":
        if self.gone:
            raise KafkaTimeoutError("nobody")
        return self

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(self.ends)

    def beginning_offsets(self, places: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        self.hang.wait()
        return dict.fromkeys(places, 0)

    def end_offsets(self, places: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        if self.gone:
            raise KafkaTimeoutError("nobody")
        return {tp: self.ends[tp.partition] for tp in places}

    def appended(self, reader: object, places: dict[TopicPartition, int], patience_s: float) -> dict:
        return dict.fromkeys(places, self.since)

    def close(self, timeout_ms: int) -> None:
        """Nothing to close."""


@pytest.fixture
def brokers(monkeypatch):
    made = Brokers()
    monkeypatch.setattr(lag, "reader", made.reader)
    monkeypatch.setattr(lag, "_appended", made.appended)
    monkeypatch.setattr(behind, "EVERY_S", 0.01)
    yield made
    made.hang.set()
    for thread in threading.enumerate():  # none is left to ask the next test's brokers
        if thread.name == "behind":
            thread.join(5)


def samples(watch: behind.Watch) -> dict[tuple[str, str, str], float]:
    return {(metric.name, labels["lane"], labels["partition"]): value for metric, labels, value in watch.samples()}


def until(done, limit_s: float = 5.0):
    ends = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < ends
        time.sleep(0.01)


NOBODY = access.Kafka(kafka_bootstrap="")
RECORDS, SECONDS = names.LANE_BEHIND_RECORDS.name, names.LANE_BEHIND_SECONDS.name


def test_lag_grows_while_nobody_answers_and_no_batch_ends(brokers):
    stopping = threading.Event()
    watch = behind.Watch(NOBODY, {"raw": {0: 10}, "stats": {0: 4, 1: 5}}.__getitem__)
    watch.tend(stopping)
    until(lambda: len(samples(watch)) == 8)
    brokers.gone = True
    first = samples(watch)
    assert {key: n for key, n in first.items() if key[0] == RECORDS} == {
        (RECORDS, "raw", "0"): 0,
        (RECORDS, "raw", "1"): 5,  # a partition that the lane has not begun
        (RECORDS, "stats", "0"): 6,
        (RECORDS, "stats", "1"): 0,
    }
    assert first[SECONDS, "raw", "0"] == 0
    assert first[SECONDS, "stats", "0"] > 59
    until(lambda: samples(watch)[SECONDS, "stats", "0"] > first[SECONDS, "stats", "0"] + 0.1)
    stopping.set()


def test_a_question_without_an_end_is_asked_anew_by_another(brokers, monkeypatch):
    monkeypatch.setattr(behind, "SILENT_S", 0.05)
    stopping = threading.Event()
    watch = behind.Watch(NOBODY, {"raw": {}, "stats": {}}.__getitem__)
    brokers.hang.clear()
    watch.tend(stopping)
    time.sleep(0.06)
    stuck = brokers.hang
    brokers.hang = threading.Event()
    brokers.hang.set()
    watch.tend(stopping)
    until(lambda: len(samples(watch)) == 8)
    brokers.ends = {0: 11, 1: 5}
    until(lambda: samples(watch)[RECORDS, "raw", "0"] == 11)
    stopping.set()
    stuck.set()
