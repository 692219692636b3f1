"""
What Spark tells of its batches: exported as metrics, and the offsets told to Kafka, a consumer group a lane, so that
any Kafka tool shows how far Spark has read.
"""

import time
from datetime import datetime
from typing import Any

import msgspec
from py4j.protocol import Py4JError
from pyspark.sql.streaming.listener import StreamingQueryListener

from observability import access, metrics, names
from observability.logs import Log
from services.contract import USERS
from spark.contract import GROUPS

PATIENCE_S = 5
PHASES = ("addBatch", "walCommit", "commitOffsets", "latestOffset", "getBatch", "queryPlanning")
WHOLE = "triggerExecution"
SNAPSHOT, NEVER = "SnapshotLastUploaded.", -1  # of each partition: the version that was last kept whole
BEFORE_THE_FIRST = "1970-01-01T00:00:00Z"

log = Log(__name__)


class Source(msgspec.Struct, rename="camel"):
    """How far a batch has read: topic -> partition -> offset."""

    end_offset: dict[str, dict[int, int]] | None = None


class Operator(msgspec.Struct, rename="camel"):
    """What a stateful operator holds."""

    num_rows_total: int
    memory_used_bytes: int
    num_rows_dropped_by_watermark: int
    custom_metrics: dict[str, float] = {}


class Batch(msgspec.Struct, rename="camel"):
    """What Spark's StreamingQueryProgress has of a batch, as its JSON says it; what is empty or no number is absent."""

    name: str
    batch_id: int
    timestamp: str
    num_input_rows: int
    state_operators: list[Operator]
    sources: list[Source]
    duration_ms: dict[str, int] = {}
    event_time: dict[str, str] = {}
    input_rows_per_second: float = 0.0
    processed_rows_per_second: float = 0.0

    @property
    def ends(self) -> dict[int, int]:
        """The offset after the batch's last message, of each partition of users.raw."""
        return (self.sources[0].end_offset or {}).get(USERS, {})

    @property
    def snapshot(self) -> int:
        """After how many batches the state was last kept whole, by this run of the query; NEVER if it was not."""
        told = (one.custom_metrics.items() for one in self.state_operators)
        versions = [int(version) for some in told for name, version in some if name.startswith(SNAPSHOT)]
        return min(versions, default=NEVER)


class Progress(StreamingQueryListener):
    """
    Logs and exports every batch, and commits its end offsets; Spark itself reads on from its checkpoint alone.

    It is called with the JVM's own events and takes a batch from one as JSON: PySpark's classes would ask the JVM for
    each field, some 150 questions a batch, which cost more than all else that the driver's Python does.
    """

    def __init__(self, jvm: Any, brokers: access.Kafka) -> None:
        """`jvm`: the session's, whose own Kafka client commits; it is there, and every wait of it has an end."""
        super().__init__()
        self._jvm = jvm
        self._ends: dict[str, dict[int, int]] = {}
        self._kept: dict[str, int] = {}
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

    def onQueryStarted(self, event: Any) -> None:  # noqa: N802
        log.info("lane started", lane=event.name())

    def onQueryProgress(self, event: Any) -> None:  # noqa: N802
        batch = read(event.progress().json())
        kept = self._kept[batch.name] = kept_whole(batch, self._kept.get(batch.name))
        export(batch, kept)
        log.info(
            "batch done",
            lane=batch.name,
            batch=batch.batch_id,
            rows=batch.num_input_rows,
            ms=batch.duration_ms,
            started=batch.timestamp,
            ends=batch.ends,
        )
        self._ends[batch.name] = batch.ends
        try:
            self._commit(GROUPS[batch.name], batch.ends)
        except Py4JError as error:
            metrics.counter(names.LANE_COMMITS_FAILED).labels(batch.name).inc()
            log.warning("offsets not committed: the next batch will", lane=batch.name, reason=reason(error))

    def onQueryIdle(self, event: Any) -> None:  # noqa: N802
        """Nothing to tell."""

    def onQueryTerminated(self, event: Any) -> None:  # noqa: N802
        """The lane's own thread tells why."""

    @property
    def _jlistener(self) -> Any:
        return self._jvm.PythonStreamingQueryListenerWrapper(self)

    class Java:
        """What py4j lets the JVM call."""

        implements = ("org.apache.spark.sql.streaming.PythonStreamingQueryListener",)

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


read = msgspec.json.Decoder(Batch).decode


def kept_whole(batch: Batch, before: int | None) -> int:
    """
    After how many batches the state was last kept whole, as far as this process knows; `before` is what it knew.

    A query that is started again does not tell what the one before it kept.
    """
    return max(batch.snapshot, batch.batch_id if before is None else before)


def export(batch: Batch, kept: int) -> None:
    """Set and count what LANE_* of the names says of one batch; its state was last whole after `kept` batches."""
    lane, ms, state = batch.name, batch.duration_ms, batch.state_operators
    metrics.counter(names.LANE_BATCHES).labels(lane).inc(batch.num_input_rows > 0)
    metrics.counter(names.LANE_ROWS).labels(lane).inc(batch.num_input_rows)
    metrics.histogram(names.LANE_BATCH_SECONDS).labels(lane).observe(ms.get(WHOLE, 0) / 1000)
    for phase, took_ms in phases(ms).items():
        metrics.counter(names.LANE_PHASE_SECONDS).labels(lane, phase).inc(took_ms / 1000)
    metrics.gauge(names.LANE_INPUT_RATE).labels(lane).set(batch.input_rows_per_second)
    metrics.gauge(names.LANE_PROCESSED_RATE).labels(lane).set(batch.processed_rows_per_second)
    metrics.gauge(names.LANE_STATE_ROWS).labels(lane).set(sum(one.num_rows_total for one in state))
    metrics.gauge(names.LANE_STATE_BYTES).labels(lane).set(sum(one.memory_used_bytes for one in state))
    if state:
        metrics.gauge(names.LANE_SNAPSHOT_AGE).labels(lane).set(batch.batch_id + 1 - kept)
    metrics.counter(names.LANE_LATE_ROWS).labels(lane).inc(sum(one.num_rows_dropped_by_watermark for one in state))
    watermark = datetime.fromisoformat(batch.event_time.get("watermark", BEFORE_THE_FIRST))
    metrics.gauge(names.LANE_WATERMARK).labels(lane).set(watermark.timestamp())
    metrics.gauge(names.LANE_LAST_BATCH).labels(lane).set(time.time())


def phases(ms: dict[str, int]) -> dict[str, int]:
    """Milliseconds by phase; `other` is what is left of the whole batch."""
    known = {phase: ms[phase] for phase in PHASES if phase in ms}
    return known | {"other": max(0, ms.get(WHOLE, 0) - sum(known.values()))}
