"""
What Spark tells of its batches: exported as metrics, and the offsets told to Kafka, a consumer group a lane, so that
any Kafka tool shows how far Spark has read.
"""

import json
import math
import time
from datetime import datetime
from typing import Any

from py4j.protocol import Py4JError
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
    StreamingQueryProgress,
)

from observability import access, metrics, names
from observability.logs import Log
from services.contract import USERS
from spark.contract import GROUPS

PATIENCE_S = 5
PHASES = ("addBatch", "walCommit", "commitOffsets", "latestOffset", "getBatch", "queryPlanning")
WHOLE = "triggerExecution"
BEFORE_THE_FIRST = "1970-01-01T00:00:00Z"

log = Log(__name__)


class Progress(StreamingQueryListener):
    """Logs and exports every batch, and commits its end offsets; Spark itself reads on from its checkpoint alone."""

    def __init__(self, jvm: Any, brokers: access.Kafka) -> None:
        """`jvm`: the session's, whose own Kafka client commits; it is there, and every wait of it has an end."""
        super().__init__()
        self._jvm = jvm
        self._ends: dict[str, dict[int, int]] = {}
        settings = jvm.java.util.HashMap()
        for key, value in brokers.java().items():
            settings.put(key, value)
        settings.put("default.api.timeout.ms", str(PATIENCE_S * 1000))
        settings.put("request.timeout.ms", str(PATIENCE_S * 1000))
        self._admin = jvm.org.apache.kafka.clients.admin.Admin.create(settings)

    def positions(self, lane: str) -> dict[int, int]:
        """The next offset of each partition: of the last batch, or, before the first one, as Kafka was told."""
        if lane not in self._ends:
            try:
                self._ends.setdefault(lane, self._committed(GROUPS[lane]))
            except Py4JError as error:
                log.warning("offsets of the last run not read", lane=lane, reason=reason(error))
        return self._ends.get(lane, {})

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802
        log.info("lane started", lane=event.name)

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802
        batch = event.progress
        lane, ends = str(batch.name), ends_of(batch)
        log.info(
            "batch done",
            lane=lane,
            batch=batch.batchId,
            rows=batch.numInputRows,
            ms=dict(batch.durationMs),
            started=batch.timestamp,
            ends=ends,
        )
        export(batch)
        self._ends[lane] = ends
        try:
            self._commit(GROUPS[lane], ends)
        except Py4JError as error:
            metrics.counter(names.LANE_COMMITS_FAILED).labels(lane).inc()
            log.warning("offsets not committed: the next batch will", lane=lane, reason=reason(error))

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802
        """Nothing to tell."""

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802
        """The lane's own thread tells why."""

    def _commit(self, group: str, ends: dict[int, int]) -> None:
        kafka = self._jvm.org.apache.kafka
        offsets = self._jvm.java.util.HashMap()
        for partition, offset in ends.items():
            offsets.put(kafka.common.TopicPartition(USERS, partition), kafka.clients.consumer.OffsetAndMetadata(offset))
        self._wait(self._admin.alterConsumerGroupOffsets(group, offsets).all())

    def _committed(self, group: str) -> dict[int, int]:
        found = self._wait(self._admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata())
        return {tp.partition(): found[tp].offset() for tp in found if tp.topic() == USERS and found[tp] is not None}

    def _wait(self, future: Any) -> Any:
        return future.get(2 * PATIENCE_S, self._jvm.java.util.concurrent.TimeUnit.SECONDS)


def reason(error: Py4JError) -> str:
    return str(getattr(error, "java_exception", error))[:300]


def ends_of(batch: StreamingQueryProgress) -> dict[int, int]:
    """The offset after the batch's last message, of each partition of users.raw."""
    ends = json.loads(batch.sources[0].endOffset or "{}").get(USERS, {})
    return {int(partition): offset for partition, offset in ends.items()}


def export(batch: StreamingQueryProgress) -> None:
    """Set and count what LANE_* of the names says of one batch."""
    lane, ms = str(batch.name), dict(batch.durationMs)
    metrics.counter(names.LANE_BATCHES).labels(lane).inc(batch.numInputRows > 0)
    metrics.counter(names.LANE_ROWS).labels(lane).inc(batch.numInputRows)
    metrics.histogram(names.LANE_BATCH_SECONDS).labels(lane).observe(ms.get(WHOLE, 0) / 1000)
    for phase, took_ms in phases(ms).items():
        metrics.counter(names.LANE_PHASE_SECONDS).labels(lane, phase).inc(took_ms / 1000)
    metrics.gauge(names.LANE_INPUT_RATE).labels(lane).set(finite(batch.inputRowsPerSecond))
    metrics.gauge(names.LANE_PROCESSED_RATE).labels(lane).set(finite(batch.processedRowsPerSecond))
    state = batch.stateOperators
    metrics.gauge(names.LANE_STATE_ROWS).labels(lane).set(sum(one.numRowsTotal for one in state))
    metrics.gauge(names.LANE_STATE_BYTES).labels(lane).set(sum(one.memoryUsedBytes for one in state))
    metrics.counter(names.LANE_LATE_ROWS).labels(lane).inc(sum(one.numRowsDroppedByWatermark for one in state))
    watermark = datetime.fromisoformat(batch.eventTime.get("watermark", BEFORE_THE_FIRST))
    metrics.gauge(names.LANE_WATERMARK).labels(lane).set(watermark.timestamp())
    metrics.gauge(names.LANE_LAST_BATCH).labels(lane).set(time.time())


def phases(ms: dict[str, int]) -> dict[str, int]:
    """Milliseconds by phase; `other` is what is left of the whole batch."""
    known = {phase: ms[phase] for phase in PHASES if phase in ms}
    return known | {"other": max(0, ms.get(WHOLE, 0) - sum(known.values()))}


def finite(rate: float) -> float:
    """Spark has no rate for its first batch."""
    return rate if math.isfinite(rate) else 0.0
