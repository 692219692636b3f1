"""
A Kafka cluster as its clients see it: brokers, the partitions' health, offsets, and how far each group is behind.

Brokers that do not answer are brokers that are not there: none is counted, every partition is offline, and what a group
has not read goes on ageing.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from observability import access, lag
from observability.lag import Behind
from services import topics

PATIENCE_S = 2.5  # for each answer of the brokers
INTERNAL = "internal"  # all of Kafka's own topics as one
ALL, UNDER_REPLICATED, UNDER_MIN_ISR, OFFLINE = HEALTH = ("all", "under_replicated", "under_min_isr", "offline")
MIN_ISR = "min.insync.replicas"


@dataclass(frozen=True)
class Clients:
    """The two clients that a round uses."""

    admin: KafkaAdminClient
    reader: KafkaConsumer


@dataclass(frozen=True)
class Picture:
    """What the brokers last said; `silent` is what they did not answer in this round, empty for nothing."""

    brokers: int = 0
    health: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # topic -> HEALTH -> partitions
    begins: Mapping[TopicPartition, int] = field(default_factory=dict)
    ends: Mapping[TopicPartition, int] = field(default_factory=dict)
    groups: Mapping[str, Mapping[TopicPartition, int]] = field(default_factory=dict)  # what each has committed
    behind: Mapping[str, Mapping[TopicPartition, Behind]] = field(default_factory=dict)
    at: float = 0.0  # Unix time of the last whole round
    silent: str = ""


def connect(broker: access.Kafka) -> Clients:
    """
    Open both clients by way of one broker; they then know the others.

    Raises:
        KafkaError: it does not answer.
    """
    patience_ms = int(PATIENCE_S * 1000)
    admin = topics.opened(
        KafkaAdminClient,
        **broker.kafka(),
        request_timeout_ms=patience_ms,
        bootstrap_timeout_ms=patience_ms,
    )
    try:
        return Clients(admin, lag.reader(broker, PATIENCE_S))
    except BaseException:
        admin.close()
        raise


def disconnect(clients: Clients) -> None:
    try:
        clients.reader.close(autocommit=False, timeout_ms=1000)
    finally:
        clients.admin.close()


def look(clients: Clients, last: Picture) -> Picture:
    """
    A round. What fails after the cluster itself has answered stays as it was in `last`, and `silent` says so.

    Raises:
        KafkaError: no broker answers for the cluster.
    """
    brokers = sorted(one["broker_id"] for one in cluster(clients.admin)["brokers"] if here(one))
    described = clients.admin.describe_topics()
    seen = replace(last, brokers=len(brokers), silent="")
    try:
        seen = replace(seen, health=health(described, min_isr(clients.admin, [one["name"] for one in described])))
        led, there = places(described)
        seen = replace(
            seen,
            begins=kept(last.begins, there) | topics.begins(clients.reader, led, PATIENCE_S),
            ends=kept(last.ends, there) | topics.ends(clients.reader, led, PATIENCE_S),
        )
        committed = offsets(clients.admin, brokers, there)
        asked = {group: {tp: at for tp, at in found.items() if tp in led} for group, found in committed.items()}
        known = lag.behind(clients.reader, asked, lag.Kept(seen.begins, seen.ends), PATIENCE_S)
        behind = {group: kept(last.behind.get(group, {}), found) | known[group] for group, found in committed.items()}
        return replace(seen, groups=committed, behind=behind, at=time.time())
    except (KafkaError, topics.TopicUnreadable, OSError, ValueError, LookupError, RuntimeError) as error:
        return replace(seen, silent=f"{type(error).__name__}: {str(error)[:200]}")


def cluster(admin: KafkaAdminClient) -> Mapping[str, Any]:
    """What one broker says of the cluster; if the one that was asked is the one that is gone, another."""
    said: Mapping[str, Any]
    try:
        said = admin.describe_cluster()
    except KafkaError:
        said = admin.describe_cluster()
    return said


def here(broker: Mapping[str, Any]) -> bool:
    """Whether a broker takes part; one that the controller no longer hears is fenced."""
    return not broker.get("is_fenced", False)


def places(described: Sequence[Mapping[str, Any]]) -> tuple[list[TopicPartition], set[TopicPartition]]:
    """The partitions of topics that are not Kafka's own: those with a leader, and all of them."""
    every = {
        TopicPartition(one["name"], part["partition_index"]): part["leader_id"]
        for one in described
        if not own(one["name"])
        for part in one["partitions"]
    }
    return [tp for tp, leader in every.items() if leader >= 0], set(every)


def own(topic: str) -> bool:
    """Whether a topic is Kafka's own."""
    return topic.startswith("__")


def kept(last: Mapping[TopicPartition, Any], there: Any) -> dict[TopicPartition, Any]:
    """What was known of the places that are still there."""
    return {tp: value for tp, value in last.items() if tp in there}


def min_isr(admin: KafkaAdminClient, of: Sequence[str]) -> dict[str, int]:
    """The `min.insync.replicas` of these topics."""
    if not of:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic, [MIN_ISR]) for topic in of]
    found = admin.describe_configs(asked, config_filter="all").get("topic", {})
    return {topic: int(found.get(topic, {}).get(MIN_ISR, {"value": 1})["value"]) for topic in of}


def health(described: Sequence[Mapping[str, Any]], least: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """How many partitions of each topic are how; Kafka's own topics are one, INTERNAL."""
    counted: dict[str, Counter[str]] = {}
    for one in described:
        of_topic = counted.setdefault(INTERNAL if own(one["name"]) else one["name"], Counter())
        for part in one["partitions"]:
            in_sync = len(part["isr_nodes"])
            of_topic[ALL] += 1
            of_topic[UNDER_REPLICATED] += in_sync < len(part["replica_nodes"])
            of_topic[UNDER_MIN_ISR] += in_sync < least.get(one["name"], 1)
            of_topic[OFFLINE] += part["leader_id"] < 0
    return {topic: {name: of_topic[name] for name in HEALTH} for topic, of_topic in counted.items()}


def offsets(
    admin: KafkaAdminClient, brokers: Sequence[int], there: set[TopicPartition]
) -> dict[str, dict[TopicPartition, int]]:
    """What every group has committed of these partitions; a group without an offset is there, with none."""
    groups = sorted({one["group_id"] for one in admin.list_groups(broker_ids=list(brokers))})
    if not groups:
        return {}
    found = admin.list_group_offsets(dict.fromkeys(groups))
    return {
        group: {tp: one.offset for tp, one in found.get(group, {}).items() if tp in there and one.offset >= 0}
        for group in groups
    }


def silent(last: Picture, reason: str) -> Picture:
    """The picture when no broker answers: none is there, all partitions are offline, the rest is as it was."""
    offline = {
        topic: {ALL: counts[ALL], UNDER_REPLICATED: counts[ALL], UNDER_MIN_ISR: counts[ALL], OFFLINE: counts[ALL]}
        for topic, counts in last.health.items()
    }
    return replace(last, brokers=0, health=offline, silent=reason)
