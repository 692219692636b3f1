"""
How far each lane is behind users.raw, asked of the brokers every EVERY_S; ages go on growing between the answers.

So a lane that is stuck, or stopped, or whose brokers are gone, is seen to fall behind: nothing here waits for a batch.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

from kafka import TopicPartition
from kafka.errors import KafkaError

from observability import access, lag, names
from observability.lag import Behind
from observability.logs import Log
from observability.metrics import Sample
from services.contract import USERS
from spark.contract import RAW, STATS

EVERY_S = 2.0
PATIENCE_S = 3.0
SILENT_S = 30.0  # a question that takes longer has lost its connection in a way that the client does not notice

log = Log(__name__)
Positions = Callable[[str], Mapping[int, int]]


class Watch:
    """Asks for as long as `tend` is called; `samples` is what Prometheus gets."""

    def __init__(self, brokers: access.Kafka, positions: Positions) -> None:
        """`positions` says how far a lane has read: the next offset of each partition that it has begun."""
        self._brokers, self._positions = brokers, positions
        self._known: dict[tuple[str, int], Behind] = {}
        self._beat = 0.0
        self._asking: object = None

    def samples(self) -> Iterator[Sample]:
        """How far both lanes are behind, now."""
        for (lane, partition), one in sorted(self._known.items()):
            labels = {"lane": lane, "partition": str(partition)}
            yield names.LANE_BEHIND_RECORDS, labels, one.records
            yield names.LANE_BEHIND_SECONDS, labels, one.seconds

    def tend(self, stopping: threading.Event) -> None:
        """See to it that somebody asks; one who has been silent for SILENT_S is left alone, and another one asks."""
        if time.monotonic() - self._beat < SILENT_S:
            return
        self._beat, self._asking = time.monotonic(), object()
        threading.Thread(target=self._ask, args=(self._asking, stopping), name="behind", daemon=True).start()

    def _ask(self, myself: object, stopping: threading.Event) -> None:
        while self._asking is myself and not stopping.is_set():
            try:
                self._session(myself, stopping)
            except (KafkaError, OSError) as error:
                log.warning("nobody says how far the lanes are behind", reason=f"{type(error).__name__}: {error}"[:300])
            if self._asking is myself:
                self._beat = time.monotonic()
            stopping.wait(EVERY_S)

    def _session(self, myself: object, stopping: threading.Event) -> None:
        reader = lag.reader(self._brokers, PATIENCE_S)
        try:
            while self._asking is myself and not stopping.is_set():
                places = [TopicPartition(USERS, n) for n in sorted(reader.partitions_for_topic(USERS) or ())]
                read = {lane: self._positions(lane) for lane in (RAW, STATS)}
                there = lag.kept(reader, places, PATIENCE_S)
                # a partition that a lane has not begun is read from its oldest record
                wanted = {lane: {tp: at.get(tp.partition, 0) for tp in there.ends} for lane, at in read.items()}
                found = lag.behind(reader, wanted, there, PATIENCE_S)
                if self._asking is myself:
                    self._known |= {(lane, tp.partition): one for lane, of in found.items() for tp, one in of.items()}
                    self._beat = time.monotonic()
                stopping.wait(EVERY_S)
        finally:
            reader.close(timeout_ms=1000)
