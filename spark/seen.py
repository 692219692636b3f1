"""
What was seen of a part of a batch on an executor, for the driver to count and to trace. No person's data is in it.

Headers come from whoever sent the message. `ours` has ingestion's, and only of these the time since the fetch is told
and the newest canary taken: who writes to the topic without them moves no figure; who forges them moves these, and
what the auditor counts as ours.
"""

import gc
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache, reduce
from itertools import chain, islice
from typing import Any

import msgspec
import pyarrow as pa
from pyspark.accumulators import AccumulatorParam

from observability import tracing
from services.contract import UserEvent
from spark.contract import Counted

CANARY_AHEAD = timedelta(minutes=1)  # a fetch that lies further beyond its append is no clock of ours
COLUMNS = ("value", "key", "partition", "offset", "timestamp", "ours", "traceparent", "journey")  # session.messages
JOURNEYS = 200  # of a batch
SETTLING = 20  # tasks of a lane, until an executor's Python has loaded all that the lane needs


class Journey(msgspec.Struct, frozen=True):
    """A message whose whole way is traced, and its place."""

    traceparent: str
    partition: int
    offset: int


class Canary(msgspec.Struct, frozen=True):
    """The newest canary of a part."""

    user_id: str
    fetched_at: datetime
    appended_at: datetime
    trace_id: str


class Seen(msgspec.Struct, frozen=True):
    """
    Messages from `begins` up to, not including, `ends` (partition -> offset), counted.

    `fetched` are users of ours by the microsecond of their fetch, `traced` the traces of journeys by the same;
    `sample` is a few traceparents.
    """

    counted: Counted = Counted()
    begins: dict[int, int] = {}
    ends: dict[int, int] = {}
    fetched: dict[int, int] = {}
    traced: dict[int, str] = {}
    journeys: tuple[Journey, ...] = ()
    sample: tuple[str, ...] = ()
    canary: Canary | None = None

    def plus(self, other: "Seen") -> "Seen":
        """Both parts as one."""
        return Seen(
            self.counted.plus(other.counted),
            self.begins | {p: min(at, self.begins.get(p, at)) for p, at in other.begins.items()},
            self.ends | {p: max(at, self.ends.get(p, at)) for p, at in other.ends.items()},
            self.fetched | {at: n + self.fetched.get(at, 0) for at, n in other.fetched.items()},
            self.traced | other.traced,
            tuple(islice(chain(self.journeys, other.journeys), JOURNEYS)),
            few(chain(self.sample, other.sample)),
            newer(self.canary, other.canary),
        )


NOTHING = Seen()


def in_time(event: UserEvent, appended_at: datetime) -> bool:
    """Whether the event's time is not beyond its append: a newest one of tomorrow would stay the newest till then."""
    return event.fetched_at <= appended_at + CANARY_AHEAD


Parts = dict[tuple[tuple[int, int], ...], Seen]  # by where each begins: (partition, offset)


class Noted(AccumulatorParam[Parts]):
    """
    How Spark adds what the executors saw: each part once, however often it was read.

    When an executor is lost with the shuffle files of a batch, what had read them is run again, and adds again.
    """

    def zero(self, value: Parts) -> Parts:  # noqa: ARG002
        return {}

    def addInPlace(self, value1: Parts, value2: Parts) -> Parts:  # noqa: N802
        return value1 | value2


def noted(part: Seen) -> Parts:
    """A part, to be added to what was noted."""
    return {tuple(sorted(part.begins.items())): part}


def whole(parts: Parts) -> Seen:
    """All parts as one."""
    return reduce(Seen.plus, parts.values(), NOTHING)


_tasks: Counter[str] = Counter()


def settled(lane: str) -> None:
    """
    Take what this executor's Python has loaded out of the garbage collector's sight, in the first tasks of each lane.

    Spark's worker collects after every task, and would go through all modules each time: 80 ms of every task. Either
    lane loads what the other does not, and clients load on when they connect.
    """
    _tasks[lane] += 1
    if _tasks[lane] <= SETTLING:
        gc.freeze()  # what had become garbage was collected after the task before


def of(part: pa.RecordBatch) -> Seen:
    """What the headers and places of a part's messages tell; their values are the lane's to read."""
    partitions, offsets = part.column("partition").to_pylist(), part.column("offset").to_pylist()
    begins: dict[int, int] = {}
    ends: dict[int, int] = {}
    for partition, offset in zip(partitions, offsets, strict=True):
        begins[partition] = min(offset, begins.get(partition, offset))
        ends[partition] = max(offset + 1, ends.get(partition, 0))
    parents = part.column("traceparent").to_pylist()
    flags = part.column("journey").to_pylist()
    found = (
        Journey(text(parents[n]), partitions[n], offsets[n]) for n, flag in enumerate(flags) if flag and parents[n]
    )
    counted = Counted(read=part.num_rows, ours=sum(part.column("ours").to_pylist()))
    return Seen(counted, begins, ends, journeys=tuple(islice(found, JOURNEYS)), sample=few(map(text, parents)))


def messages(part: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """The part's messages, each with the values of COLUMNS."""
    return zip(*(values(part.column(name)) for name in COLUMNS), strict=True)


def values(column: pa.Array) -> list[Any]:
    """A column's values; Arrow itself would look up the zone of each of its times: 4 us instead of 0.5."""
    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    return [datetime.fromtimestamp(us / 1e6, UTC) for us in column.cast(pa.int64()).to_pylist()]


def text(traceparent: bytes | None) -> str:
    """A header's bytes as text; whatever is no ASCII names no trace."""
    return (traceparent or b"").decode("ascii", errors="replace")


@lru_cache(maxsize=1024)  # the users of a page share one
def trace_id(traceparent: bytes | None) -> str:
    return tracing.trace_id(text(traceparent))


def micros(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000)


def few(traceparents: Iterable[str]) -> tuple[str, ...]:
    """The first that differ, as many as a batch's span is linked to."""
    return tuple(islice(dict.fromkeys(one for one in traceparents if one), tracing.LINKS))


def newer(one: Canary | None, other: Canary | None) -> Canary | None:
    """The canary that was fetched later."""
    both = [canary for canary in (one, other) if canary]
    return max(both, key=lambda canary: canary.fetched_at, default=None)
