"""
What a batch tells of itself: its metrics, its span, and within the traces of sampled users the way through the lane.

Only the driver tells. A journey's spans are made when its batch is written, with the times that it had.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from opentelemetry.trace import Span

from observability import metrics, names, tracing
from services.contract import USERS
from spark.contract import DATABASE, GROUPS, KEYSPACE, RAW, STATS, Counted
from spark.seen import JOURNEYS, Journey, Seen, few

MONGODB, CASSANDRA = "mongodb", "cassandra"
NAMESPACES, OPERATIONS = {MONGODB: DATABASE, CASSANDRA: KEYSPACE}, {MONGODB: "insert", CASSANDRA: "INSERT"}
SIZE = "db.operation.batch.size"
OUTCOMES = ("user", "duplicate", "poison", "canary")


def begin() -> None:
    """Let every counter of both lanes and stores be there, at 0."""
    for lane in (RAW, STATS):
        for metric in (names.LANE_UP, names.LANE_STATE_ROWS, names.LANE_STATE_BYTES, names.LANE_WATERMARK):
            metrics.gauge(metric).labels(lane)
        for metric in (names.LANE_INPUT_RATE, names.LANE_PROCESSED_RATE, names.LANE_LAST_BATCH):
            metrics.gauge(metric).labels(lane)
        for metric in (names.LANE_RESTARTS, names.LANE_BATCHES, names.LANE_ROWS, names.LANE_LATE_ROWS):
            metrics.counter(metric).labels(lane)
        metrics.counter(names.LANE_COMMITS_FAILED).labels(lane)
        metrics.histogram(names.LANE_BATCH_SECONDS).labels(lane)
        metrics.histogram(names.END_TO_END).labels(lane)
        for outcome in OUTCOMES:
            metrics.counter(names.LANE_MESSAGES).labels(lane, outcome)
    for store in (MONGODB, CASSANDRA):
        metrics.counter(names.STORE_WRITES).labels(store)
        metrics.counter(names.STORE_ERRORS).labels(store)
        metrics.histogram(names.STORE_WRITE_SECONDS).labels(store)


@dataclass(frozen=True)
class Written:
    """Messages that were written together to a store, from one time to another (Unix, ns)."""

    store: str
    collection: str
    rows: int
    began_ns: int
    ended_ns: int
    journeys: tuple[Journey, ...]


@dataclass
class Batch:
    """A micro-batch that a lane works on."""

    lane: str
    number: int
    span: Span
    began_ns: int = field(default_factory=time.time_ns)


@contextmanager
def batch(lane: str, number: int) -> Iterator[Batch]:
    """The span of a micro-batch, around all that is done for it."""
    with tracing.span(names.PROCESS, _process(lane, number), what=USERS) as span:
        yield Batch(lane, number, span)


@dataclass
class Attempt:
    """One attempt to write: how many rows or documents the store has taken, and when (Unix, ns)."""

    rows: int = 0
    began_ns: int = field(default_factory=time.time_ns)
    ended_ns: int = 0

    @property
    def seconds(self) -> float:
        return (self.ended_ns - self.began_ns) / 1e9


@contextmanager
def attempt(lane: str, store: str, collection: str, errors: tuple[type[Exception], ...]) -> Iterator[Attempt]:
    """The span of one attempt to write; of the `errors`, which are the store's, it is counted that it failed."""
    one = Attempt()
    with tracing.span(names.WRITE, _write(lane, store, collection), what=store) as span:
        try:
            yield one
        except errors:
            metrics.counter(names.STORE_ERRORS).labels(store).inc()
            raise
        finally:
            one.ended_ns = time.time_ns()
            span.set_attribute(SIZE, one.rows)
            metrics.counter(names.STORE_WRITES).labels(store).inc(one.rows)


def arrived(lane: str, fetched: Mapping[int, int], traced: Mapping[int, str], at_ns: int) -> None:
    """Tell how long users took from their fetch (`fetched`: its microsecond -> users) until they were in the store."""
    told = metrics.histogram(names.END_TO_END).labels(lane)
    for fetched_us, users in fetched.items():
        seconds = max(0.0, at_ns / 1e9 - fetched_us / 1e6)
        told.observe(seconds, tracing.exemplar(tracing.parsed(traced.get(fetched_us, ""))))
        for _ in range(users - 1):
            told.observe(seconds)


def done(one: Batch, whole: Seen, became: Counted, writes: list[Written], write_s: float) -> None:
    """Count a batch that is written, by what became of it, and let its span and its journeys tell of it."""
    outcomes = became.users, became.duplicates, became.poison, became.canaries
    for outcome, n in zip(OUTCOMES, outcomes, strict=True):
        metrics.counter(names.LANE_MESSAGES).labels(one.lane, outcome).inc(n)
    for store in {write.store for write in writes}:
        metrics.histogram(names.STORE_WRITE_SECONDS).labels(store).observe(write_s)
    one.span.set_attribute("messaging.batch.message_count", became.read)
    linked = few(chain((journey.traceparent for journey in whole.journeys), whole.sample))
    for context in filter(None, map(tracing.parsed, linked)):
        one.span.add_link(context)
    ended_ns = max((write.ended_ns for write in writes), default=one.began_ns)
    told = [(journey, write) for write in writes for journey in write.journeys]
    for journey, write in told[:JOURNEYS]:
        way(one, journey, write, ended_ns)


def way(one: Batch, journey: Journey, write: Written, ended_ns: int) -> None:
    """Tell, in a journey's own trace, that it was in this batch, and that it was written."""
    parent = tracing.parsed(journey.traceparent)
    if parent is None:
        return
    place = {
        "messaging.destination.partition.id": str(journey.partition),
        "messaging.kafka.offset": journey.offset,
        "vigie.journey": "true",
    }
    within = tracing.past(
        names.PROCESS,
        one.began_ns,
        ended_ns,
        _process(one.lane, one.number) | place,
        what=USERS,
        parent=parent,
        links=[one.span.get_span_context()],
    )
    tracing.past(
        names.WRITE,
        write.began_ns,
        write.ended_ns,
        _write(one.lane, write.store, write.collection) | {SIZE: write.rows, "vigie.journey": "true"},
        what=write.store,
        parent=within,
    )


def _process(lane: str, number: int) -> dict[str, Any]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": USERS,
        "messaging.consumer.group.name": GROUPS[lane],
        "vigie.lane": lane,
        "vigie.batch": number,
    }


def _write(lane: str, store: str, collection: str) -> dict[str, Any]:
    return {
        "db.system.name": store,
        "db.namespace": NAMESPACES[store],
        "db.collection.name": collection,
        "db.operation.name": OPERATIONS[store],
        "vigie.lane": lane,
    }
