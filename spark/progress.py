"""How far each lane has read, told to Kafka: a consumer group a lane, so that any Kafka tool shows Spark's lag."""

import json

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
)

from observability.logs import Log
from spark.contract import GROUPS

log = Log(__name__)


class Progress(StreamingQueryListener):
    """Logs every batch of every lane and commits its end offsets; Spark itself reads on from its checkpoint alone."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__()
        self.bootstrap = bootstrap
        self._admin: KafkaAdminClient | None = None

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
        except KafkaError as error:
            self._admin = None
            log.warning("offsets not committed: the next batch will", lane=batch.name, reason=str(error))

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802
        """Nothing to tell."""

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802
        """The lane's own thread tells why."""

    def _commit(self, group: str, ends: str) -> None:
        if self._admin is None:
            self._admin = KafkaAdminClient(
                bootstrap_servers=self.bootstrap.split(","), request_timeout_ms=5_000, bootstrap_timeout_ms=5_000
            )
        offsets = {
            TopicPartition(topic, int(partition)): OffsetAndMetadata(offset, "", -1)
            for topic, places in json.loads(ends).items()
            for partition, offset in places.items()
        }
        self._admin.alter_group_offsets(group, offsets)
