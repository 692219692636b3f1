"""How far each lane has read, told to Kafka: a consumer group a lane, so that any Kafka tool shows Spark's lag."""

import json
from typing import Any

from py4j.protocol import Py4JError
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
)

from observability.logs import Log
from spark.contract import GROUPS

PATIENCE_S = 5

log = Log(__name__)


class Progress(StreamingQueryListener):
    """Logs every batch of every lane and commits its end offsets; Spark itself reads on from its checkpoint alone."""

    def __init__(self, jvm: Any, bootstrap: str) -> None:
        """`jvm`: the session's, whose own Kafka client commits; it is there, and every wait of it has an end."""
        super().__init__()
        self._jvm = jvm
        settings = jvm.java.util.HashMap()
        settings.put("bootstrap.servers", bootstrap)
        settings.put("default.api.timeout.ms", str(PATIENCE_S * 1000))
        settings.put("request.timeout.ms", str(PATIENCE_S * 1000))
        self._admin = jvm.org.apache.kafka.clients.admin.Admin.create(settings)

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802
        log.info("lane started", lane=event.name)

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802
        batch = event.progress
        log.info(
            "batch done",
            lane=batch.name,
            batch=batch.batchId,
            rows=batch.numInputRows,
            ms=dict(batch.durationMs),
            started=batch.timestamp,
            ends=json.loads(batch.sources[0].endOffset or "{}"),
        )
        try:
            self._commit(GROUPS[str(batch.name)], batch.sources[0].endOffset)
        except Py4JError as error:
            reason = str(getattr(error, "java_exception", error))[:300]
            log.warning("offsets not committed: the next batch will", lane=batch.name, reason=reason)

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802
        """Nothing to tell."""

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802
        """The lane's own thread tells why."""

    def _commit(self, group: str, ends: str) -> None:
        kafka = self._jvm.org.apache.kafka
        offsets = self._jvm.java.util.HashMap()
        for topic, places in json.loads(ends).items():
            for partition, offset in places.items():
                offsets.put(
                    kafka.common.TopicPartition(topic, int(partition)),
                    kafka.clients.consumer.OffsetAndMetadata(offset),
                )
        done = self._admin.alterConsumerGroupOffsets(group, offsets).all()
        done.get(2 * PATIENCE_S, self._jvm.java.util.concurrent.TimeUnit.SECONDS)
