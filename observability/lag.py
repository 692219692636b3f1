"""
How far a reader of Kafka is behind, in records and in seconds: the age of the oldest record that it has not read.

Seconds are counted from the broker's timestamp of the record at the reader's position, fetched for that; so they grow
while a reader is stuck, whoever it is and whether or not it commits offsets.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from observability import access

# So often leaders are learnt anew: kafka-python 3.0.12 asks whoever led before an election for offsets, without pause,
# until it times out, and learns nothing by it; its own five minutes would be as long a silence.
LEADERS_MS = 2000
FETCH_BYTES = 4096  # a broker sends the first batch whole even where it is larger; never more than that one


@dataclass(frozen=True)
class Kept:
    """What the brokers have of each partition: its oldest offset, and the offset of its next record."""

    begins: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]


@dataclass(frozen=True)
class Behind:
    """`records` are not read yet; the oldest of them was appended at `since` (Unix time; None where all are read)."""

    records: int
    since: float | None

    @property
    def seconds(self) -> float:
        """The age of the oldest unread record, now: it goes on growing without being asked for anew."""
        return 0.0 if self.since is None else max(0.0, time.time() - self.since)


def reader(brokers: access.Kafka, patience_s: float) -> KafkaConsumer:
    """
    A reader of no group for `behind`: it fetches as little as may be, and commits nothing.

    Raises:
        KafkaError: no broker answers within `patience_s`.
    """
    return KafkaConsumer(
        **brokers.kafka(),
        group_id=None,
        enable_auto_commit=False,
        allow_auto_create_topics=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        enable_incremental_fetch_sessions=False,
        fetch_max_wait_ms=100,
        metadata_max_age_ms=LEADERS_MS,
        request_timeout_ms=max(1000, int(patience_s * 1000)),
        bootstrap_timeout_ms=int(patience_s * 1000),
    )


def kept(consumer: KafkaConsumer, places: Collection[TopicPartition], patience_s: float) -> Kept:
    """
    What the brokers have of these partitions, now; those without a leader, or whose leader is unknown, are left out.

    Raises:
        KafkaError: the brokers did not answer within twice `patience_s`.
    """
    patience_ms, asked = int(patience_s * 1000), set(places)
    while True:
        try:
            return Kept(
                consumer.beginning_offsets(list(asked), timeout_ms=patience_ms),
                consumer.end_offsets(list(asked), timeout_ms=patience_ms),
            )
        except KeyError as error:  # kafka-python asks no one for a partition without a leader, and then looks for it
            asked.remove(error.args[0])


def behind(
    consumer: KafkaConsumer, positions: Mapping[str, Mapping[TopicPartition, int]], there: Kept, patience_s: float
) -> dict[str, dict[TopicPartition, Behind]]:
    """
    How far readers, each by a name, that will read `positions` (the offset of each partition's next record) are behind.

    One record is fetched of each place that is behind, once for all readers that are there. A position below what is
    still kept counts from there; one beyond the end is not behind. The consumer (see `reader`) has no other use: its
    assignment is changed.

    Raises:
        KafkaError: the brokers did not answer within `patience_s` for each reader, or not for every partition; then
            nothing is known of any reader.
    """
    unread = {
        name: {tp: at for tp, wanted in of.items() if (at := max(wanted, there.begins[tp])) < there.ends[tp]}
        for name, of in positions.items()
    }
    since: dict[tuple[TopicPartition, int], float] = {}
    for of in unread.values():
        missing = {tp: at for tp, at in of.items() if (tp, at) not in since}
        since |= {(tp, missing[tp]): at for tp, at in _appended(consumer, missing, patience_s).items()}

    def one(name: str, tp: TopicPartition) -> Behind:
        at = unread[name].get(tp)
        return Behind(0, None) if at is None else Behind(there.ends[tp] - at, since[tp, at])

    return {name: {tp: one(name, tp) for tp in of} for name, of in positions.items()}


def _appended(
    consumer: KafkaConsumer, places: Mapping[TopicPartition, int], patience_s: float
) -> dict[TopicPartition, float]:
    """When the first record at or after each place was appended (Unix time)."""
    found: dict[TopicPartition, float] = {}
    if not places:
        return found
    ends = time.monotonic() + patience_s
    consumer.assign(list(places))
    for tp, offset in places.items():
        consumer.seek(tp, offset)
    while missing := places.keys() - found.keys():
        if time.monotonic() > ends:
            raise KafkaTimeoutError(f"not within {patience_s} s: the oldest unread record of {sorted(missing)}")
        consumer.assign(list(missing))  # never paused: kafka-python 3.0.12 may not fetch a partition again that was
        for tp, records in consumer.poll(timeout_ms=100, max_records=1).items():
            found[tp] = records[0].timestamp / 1000
    return found
