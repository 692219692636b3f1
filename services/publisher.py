"""
From the outbox to the brokers: each row once, in order, and gone from the outbox only when it is acknowledged.

A session starts by looking what of the outbox the topics already hold (a crash, or an acknowledgement that was lost,
may have left rows there that were sent), and lets those rows go unsent. One failed delivery ends the session.

A message carries the `traceparent` of its page; the span of its batch is linked to a few of the batch's pages.
"""

import threading
import time
from collections.abc import Sequence
from itertools import groupby, islice

from kafka import KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError, KafkaTimeoutError
from opentelemetry.trace import SpanContext

from observability import access, metrics, names, retry, tracing
from observability.logs import Log
from services import topics
from services.contract import (
    DEAD_LETTERS,
    INGEST,
    MAX_DEAD_LETTER_BYTES,
    ORIGIN,
    REASON,
    ROW,
    STAGE,
    USERS,
    row_of,
)
from services.met import Met
from services.outbox import Acknowledged, Outbox, Row
from services.outbox_file import OutboxFull
from services.topics import TopicUnreadable

log = Log(__name__)

ROWS_AT_ONCE = 1000
DELIVERY_S = 120  # the producer tries so long to deliver a row before its session ends and a new one begins
IDLE_S = 0.05


class Publisher:
    """Publishes for as long as the process lives; `looked_back` is set once the topics have been looked at."""

    def __init__(
        self, outbox: Outbox, brokers: access.Kafka, stopping: threading.Event, nationalities: str = ""
    ) -> None:
        """`nationalities`: those that pages are asked for, which no message tells."""
        self.outbox, self.brokers, self.stopping, self.nationalities = outbox, brokers, stopping, nationalities
        self.looked_back = threading.Event()
        self.seconds = metrics.histogram(names.PUBLISH_SECONDS)

    def run(self) -> None:
        """Publish until `stopping`, through every failure of the brokers."""
        waiting = retry.policy("brokers", (KafkaError, TopicUnreadable, OutboxFull), stopping=self.stopping)
        try:
            waiting(self._session)
        except (KafkaError, TopicUnreadable, OutboxFull) as error:  # only when stopping
            log.warning("stopped while the brokers could not be reached", reason=str(error))

    def _session(self) -> None:
        self._look_back()
        self.looked_back.set()
        producer = KafkaProducer(
            **self.brokers.kafka(),
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            batch_size=131_072,
            max_request_size=2 * MAX_DEAD_LETTER_BYTES,
            delivery_timeout_ms=DELIVERY_S * 1000,
            request_timeout_ms=10_000,
            max_block_ms=10_000,
            bootstrap_timeout_ms=5_000,
            reconnect_backoff_max_ms=1_000,
            allow_auto_create_topics=False,
        )
        try:
            while not self.stopping.is_set():
                rows = self.outbox.waiting(after=0, most=ROWS_AT_ONCE)
                for topic, batch in by_topic(rows):
                    self.outbox.acknowledge(self._send(producer, topic, batch))
                if not rows:
                    self.stopping.wait(IDLE_S)
        finally:
            producer.close(timeout=1)

    def _send(self, producer: KafkaProducer, topic: str, rows: Sequence[Row]) -> list[Acknowledged]:
        """Deliver all rows or raise; what was delivered of them all the same is found by the next look back."""
        began_ns = time.time_ns()
        sizes = {"messaging.batch.message_count": len(rows)}
        with tracing.span(names.SEND, sending(topic) | sizes, what=topic, links=contexts(rows)):
            placed = self._deliver(producer, rows)
            batch, ended_ns = tracing.current(), time.time_ns()
        self.seconds.observe((ended_ns - began_ns) / 1e9, tracing.exemplar(batch))
        journeys = {row.seq: row.trace for row in rows if row.journey}
        for one in placed:
            if one.seq in journeys:
                step(one, journeys[one.seq], batch, began_ns, ended_ns)
        return placed

    def _deliver(self, producer: KafkaProducer, rows: Sequence[Row]) -> list[Acknowledged]:
        futures = [producer.send(row.topic, row.value, row.key, self._headers(row)) for row in rows]
        ends = time.monotonic() + DELIVERY_S + 10
        while not all(future.is_done for future in futures):
            try:
                producer.flush(timeout=0.5)
            except KafkaTimeoutError:
                if self.stopping.is_set() or time.monotonic() > ends:
                    raise
        placed = [future.get(timeout=0) for future in futures]
        return [row.acknowledged(at.partition, at.offset) for row, at in zip(rows, placed, strict=True)]

    def _headers(self, row: Row) -> list[tuple[str, bytes]]:
        headers = [(ROW, f"{self.outbox.id}:{row.seq}".encode())]
        if row.reason is not None:
            headers += [(REASON, row.reason.encode()), (STAGE, INGEST.encode()), (ORIGIN, row.fetch or b"")]
        return headers + tracing.headers(row.trace, journey=row.journey)

    def _look_back(self) -> None:
        """Let go of the rows that the topics hold already; a new outbox learns from them whom and what it has met."""
        known = self.outbox.positions()
        reader = topics.consumer(self.brokers)
        rows: list[Acknowledged] = []
        try:
            places = [*topics.partitions(reader, USERS), *topics.partitions(reader, DEAD_LETTERS)]
            met = Met(places, self.outbox.seen_users) if self.outbox.is_new() else None
            begins, ends = topics.begins(reader, places), topics.ends(reader, places)
            starts = {tp: max(begins[tp], known.get((tp.topic, tp.partition), 0)) for tp in places}
            for tp in places:
                if starts[tp] > ends[tp]:
                    log.warning("the topic is shorter than it was: was it deleted?", topic=tp.topic, end=ends[tp])
            for record in topics.records(reader, starts, ends):
                if met is not None:
                    met.add(record)
                elif row := self._row(record):
                    rows.append(row)
        finally:
            reader.close()
        if met is not None:
            sent = met.sent[USERS], met.sent[DEAD_LETTERS]
            self.outbox.meet(met.user_ids(), met.cursors(self.nationalities), met.seed, *sent)
        self.outbox.acknowledge(rows)
        self.outbox.look_from({(tp.topic, tp.partition): end for tp, end in ends.items()})
        log.info("looked back", records=sum(max(0, ends[tp] - starts[tp]) for tp in places), already_sent=len(rows))

    def _row(self, record: ConsumerRecord) -> Acknowledged | None:
        row = row_of(record.headers, self.outbox.id)
        if row is None or record.value is None:  # no row is without a value
            return None
        return Acknowledged(row, record.topic, record.partition, record.offset, record.value)


def by_topic(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The rows of each topic, in their order: one batch each."""
    parted = groupby(sorted(rows, key=lambda row: row.topic), key=lambda row: row.topic)
    return [(topic, list(found)) for topic, found in parted]


def sending(topic: str) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
    }


def contexts(rows: Sequence[Row]) -> list[SpanContext]:
    """The first few pages that the rows came with."""
    few = islice(dict.fromkeys(row.trace for row in rows if row.trace), tracing.LINKS)
    return [found for trace in few if (found := tracing.parsed(trace))]


def step(one: Acknowledged, trace: str, batch: SpanContext | None, began_ns: int, ended_ns: int) -> None:
    """Say in a journey's own trace that its message was sent, and with which batch."""
    place = {
        "messaging.destination.partition.id": str(one.partition),
        "messaging.kafka.offset": one.offset,
        "vigie.journey": "true",
    }
    tracing.past(
        names.SEND,
        began_ns,
        ended_ns,
        sending(one.topic) | place,
        what=one.topic,
        parent=tracing.parsed(trace),
        links=[batch] if batch else [],
    )
