"""The topics: made once, and read from one offset to another. `python -m services.topics` makes what is missing."""

import argparse
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError, TopicAlreadyExistsError
from kafka.net.compat import KafkaNetClient
from msgspec import Meta

from observability import access, lag, logs, retry, settings
from services.contract import DEAD_LETTERS, MAX_DEAD_LETTER_BYTES, USERS, segment_hours

log = logs.Log(__name__)

HOUR_MS = 3_600_000

T = TypeVar("T")
Offsets = dict[TopicPartition, int]


class TopicUnreadable(Exception):
    """The brokers did not give the records up to the offset that they themselves have named."""


@dataclass(frozen=True)
class Settings(access.Kafka):
    """The brokers and how many, and what topics are made with; a `min_isr` of 0 is one less than copies."""

    partitions: Annotated[int, Meta(ge=1)]
    brokers: int
    replication: Annotated[int, Meta(ge=1)]
    min_isr: Annotated[int, Meta(ge=0)]
    retention_hours: int = field(metadata={"key": "VIGIE_TOPIC_RETENTION_HOURS"})


def copies(wanted: Settings) -> tuple[int, int]:
    """Copies of every partition, at most one a broker, and how many of them must have a message."""
    replicas = min(wanted.replication, wanted.brokers)
    return replicas, min(wanted.min_isr, replicas) or max(1, replicas - 1)


def make(wanted: Settings) -> None:
    """Make the topics that are missing; one that is there is left as it is."""
    replicas, in_sync = copies(wanted)
    common = {
        "min.insync.replicas": str(in_sync),
        "retention.ms": str(wanted.retention_hours * HOUR_MS),
        "segment.ms": str(segment_hours(wanted.retention_hours) * HOUR_MS),
        "message.timestamp.type": "LogAppendTime",  # the windows' event time: a drained backlog is never late
    }
    topics = {
        USERS: {"num_partitions": wanted.partitions, "replication_factor": replicas, "configs": common},
        DEAD_LETTERS: {
            "num_partitions": 1,
            "replication_factor": replicas,
            "configs": common | {"max.message.bytes": str(2 * MAX_DEAD_LETTER_BYTES)},
        },
    }
    admin = opened(KafkaAdminClient, **wanted.kafka(), request_timeout_ms=10_000)
    try:
        for name, description in topics.items():
            try:
                admin.create_topics({name: description}, wait_for_metadata=True)
                log.info("topic made", topic=name)
            except TopicAlreadyExistsError:
                log.info("topic is there", topic=name)
    finally:
        admin.close()


def opened(client: Callable[..., T], **options: Any) -> T:
    """
    A client of kafka-python; one that finds no broker leaves, unlike theirs, no thread and no sockets behind.

    Raises:
        KafkaError: no broker answers.
    """
    nets: list[KafkaNetClient] = []

    def net(**configs: Any) -> KafkaNetClient:
        nets.append(KafkaNetClient(**configs))
        return nets[-1]

    try:
        return client(kafka_client=net, **options)
    except BaseException:
        for one in nets:
            one.close()
        raise


def consumer(brokers: access.Kafka) -> KafkaConsumer:
    """A reader of no group: it is told where to read and commits nothing."""
    return opened(
        KafkaConsumer,
        **brokers.kafka(),
        group_id=None,
        enable_auto_commit=False,
        allow_auto_create_topics=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=2 * MAX_DEAD_LETTER_BYTES,
        metadata_max_age_ms=lag.LEADERS_MS,
        bootstrap_timeout_ms=5_000,
        request_timeout_ms=10_000,
    )


def partitions(reader: KafkaConsumer, topic: str) -> list[TopicPartition]:
    """
    Every partition of the topic.

    Raises:
        TopicUnreadable: there is no such topic.
    """
    found = reader.partitions_for_topic(topic)
    if not found:
        raise TopicUnreadable(f"{topic}: no such topic; `.venv/bin/python -m services.topics` makes it")
    return [TopicPartition(topic, n) for n in sorted(found)]


def begins(reader: KafkaConsumer, places: Collection[TopicPartition], patience_s: float = 10) -> Offsets:
    """
    The oldest offset of each place.

    Raises:
        TopicUnreadable, KafkaError: not all are known within `patience_s`.
    """
    return _offsets(reader.beginning_offsets, places, patience_s)


def ends(reader: KafkaConsumer, places: Collection[TopicPartition], patience_s: float = 10) -> Offsets:
    """
    The offset of the next message of each place.

    Raises:
        TopicUnreadable, KafkaError: not all are known within `patience_s`.
    """
    return _offsets(reader.end_offsets, places, patience_s)


def _offsets(ask: Callable[..., Offsets], places: Collection[TopicPartition], patience_s: float) -> Offsets:
    until = time.monotonic() + patience_s
    while True:
        try:
            return ask(list(places), timeout_ms=int(patience_s * 1000))
        except KeyError as error:  # kafka-python asks no one for a partition whose leader it has yet to learn
            if time.monotonic() > until:
                raise TopicUnreadable(f"the brokers do not say where {error} begins or ends") from error
        time.sleep(0.05)


def records(
    reader: KafkaConsumer, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> Iterator[ConsumerRecord]:
    """
    Yield every record from `starts` up to, not including, `ends`.

    Raises:
        TopicUnreadable: no record came for 30 s although some are missing.
    """
    left = {tp for tp, end in ends.items() if starts[tp] < end}
    if not left:
        return
    reader.assign(list(left))
    for tp in left:
        reader.seek(tp, starts[tp])
    idle_s = 0
    while left:
        found = reader.poll(timeout_ms=1000, max_records=5000)
        idle_s = 0 if found else idle_s + 1
        if idle_s > 30:
            raise TopicUnreadable(f"no record for 30 s, {sorted(left)} not read to the end")
        for tp, batch in found.items():
            yield from (record for record in batch if record.offset < ends[tp])
        left = {tp for tp in left if reader.position(tp, timeout_ms=5000) < ends[tp]}


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m services.topics", description=__doc__).parse_args(argv)
    logs.start("topics")
    try:
        wanted = settings.read(Settings, settings.environ())
    except settings.WrongSetting as error:
        print(error, file=sys.stderr)
        return 2
    retry.policy("kafka", KafkaError, attempts=12)(make, wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
