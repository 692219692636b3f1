"""The dashboard of Kafka: the cluster, its topics and groups as their clients see them, and the brokers' own view."""

from grafana import brokers, quorum
from grafana.panels import ONE, ZERO, Board, Column, Row, Variable, above, ask, lines, stat, table
from grafana.promql import RATE, gathered, highest, of, total
from observability import names

TOPIC = 'topic=~"$topic"'
GROUP = 'group=~"$group", topic=~"$topic"'


def ill(health: str) -> str:
    return total(names.KAFKA_PARTITIONS, where=f'health="{health}"')


def moved(metric: str, by: str, where: str) -> str:
    """Offsets only grow: their rate is messages a second."""
    return gathered("sum", f"rate({of(metric, where)}[{RATE}])", by)


CLUSTER = Row(
    "Cluster",
    (
        stat(
            "Brokers missing",
            "0: as many answer as there should be (VIGIE_BROKERS).",
            "short",
            ask(f"{highest(names.KAFKA_BROKERS_EXPECTED)} - {highest(names.KAFKA_BROKERS)}", "missing"),
            limits=ZERO,
            runbook="kafka",
        ),
        stat(
            "Active controllers",
            "Exactly 1. 0: nothing about the cluster can change. 2: a split quorum.",
            "short",
            ask(total("kafka_active_controller"), "controllers"),
            limits=ONE,
            runbook="kafka",
        ),
        stat(
            "Offline partitions",
            "0. Without a leader a partition is neither written nor read.",
            "short",
            ask(ill("offline"), "partitions"),
            limits=ZERO,
            runbook="kafka",
        ),
        stat(
            "Below min ISR",
            "0. Such a partition takes no more writes with acks=all: the outbox grows.",
            "short",
            ask(ill("under_min_isr"), "partitions"),
            limits=ZERO,
            runbook="kafka",
        ),
        stat(
            "Under-replicated",
            "0, but for a minute after a broker's restart.",
            "short",
            ask(ill("under_replicated"), "partitions"),
            limits=above(1, 5),
            runbook="kafka",
        ),
        stat(
            "Replicas online",
            "Partitions of all topics, times their replicas; steady. It falls with each broker that is gone.",
            "short",
            ask(total("kafka_partitions"), "replicas"),
        ),
        stat(
            "Fenced brokers",
            "0. A fenced broker is registered, but has not been heard of.",
            "short",
            ask(highest("kafka_fenced_brokers"), "brokers"),
            limits=ZERO,
            runbook="kafka",
        ),
        stat(
            "Offline log folders",
            "0. A broker that cannot write its disk takes the folder out of use.",
            "short",
            ask(total("kafka_offline_log_directories"), "folders"),
            limits=ZERO,
            runbook="kafka",
        ),
    ),
)

TOPICS = Row(
    "Topics",
    (
        lines(
            "Messages by topic",
            "users.raw at the rate of fetching plus canaries; users.dlq at 0.",
            "suffix: messages/s",
            ask(moved(names.KAFKA_END_OFFSET.name, "topic", TOPIC), "{{topic}}"),
        ),
        lines(
            "Messages kept by topic",
            "It grows for VIGIE_TOPIC_RETENTION_HOURS, then stays.",
            "short",
            ask(
                f"{total(names.KAFKA_END_OFFSET, 'topic', TOPIC)} - {total(names.KAFKA_BEGIN_OFFSET, 'topic', TOPIC)}",
                "{{topic}}",
            ),
        ),
        table(
            "Health of partitions",
            "`all` as planned; under_replicated, under_min_isr and offline at 0.",
            (Column("topic", "topic"), Column("health", "health"), Column("Value", "partitions", "short")),
            ask(total(names.KAFKA_PARTITIONS, "topic, health", TOPIC)),
            width=8,
            runbook="kafka",
        ),
        lines(
            "Messages by partition",
            "Even: keys are random. One partition above the others is a key that repeats.",
            "suffix: messages/s",
            ask(moved(names.KAFKA_END_OFFSET.name, "topic, partition", TOPIC), "{{topic}} {{partition}}"),
            width=12,
        ),
        table(
            "Offsets of partitions",
            "The next message's offset and the oldest kept one's.",
            (
                Column("topic", "topic"),
                Column("partition", "partition"),
                Column("Value #A", "oldest", "locale"),
                Column("Value #B", "next", "locale"),
            ),
            ask(total(names.KAFKA_BEGIN_OFFSET, "topic, partition", TOPIC)),
            ask(total(names.KAFKA_END_OFFSET, "topic, partition", TOPIC)),
        ),
    ),
)

GROUPS = Row(
    "Consumer groups",
    (
        lines(
            "Lag in seconds, by group",
            "Below the time of a micro-batch or two (5 s): the age of the oldest message that the group has not read.",
            "s",
            ask(highest(names.GROUP_LAG_SECONDS, "group, topic", GROUP), "{{group}} {{topic}}"),
            limits=above(10, 60),
            runbook="lanes",
            leads="vigie-spark",
        ),
        lines(
            "Lag in messages, by group",
            "A batch's worth. Growing without end: the lane is slower than the source.",
            "short",
            ask(total(names.GROUP_LAG_RECORDS, "group, topic", GROUP), "{{group}} {{topic}}"),
            limits=above(2000, 20000),
            runbook="lanes",
            leads="vigie-spark",
        ),
        lines(
            "Messages read, by group",
            "As many as come in; more while a backlog drains.",
            "suffix: messages/s",
            ask(moved(names.GROUP_OFFSET.name, "group, topic", GROUP), "{{group}} {{topic}}"),
            leads="vigie-spark",
        ),
        table(
            "Groups by partition",
            "Lag near 0 in each partition; one that stays behind alone is a poisoned or very unequal one.",
            (
                Column("group", "group"),
                Column("topic", "topic"),
                Column("partition", "partition"),
                Column("Value #A", "committed", "locale"),
                Column("Value #B", "lag", "locale"),
                Column("Value #C", "lag in time", "s"),
            ),
            ask(total(names.GROUP_OFFSET, "group, topic, partition", GROUP)),
            ask(total(names.GROUP_LAG_RECORDS, "group, topic, partition", GROUP)),
            ask(highest(names.GROUP_LAG_SECONDS, "group, topic, partition", GROUP)),
            width=24,
            runbook="lanes",
        ),
    ),
)

BOARD = Board(
    "vigie-kafka",
    "Vigie: Kafka",
    "Brokers, topics, groups: is anything without a leader or behind its replicas, and who has not read how much?",
    (CLUSTER, TOPICS, GROUPS, brokers.TRAFFIC, brokers.REPLICAS, quorum.KRAFT, brokers.MACHINE),
    (
        Variable("topic", "topics of Vigie", names.KAFKA_END_OFFSET.name),
        Variable("group", "consumer groups; each lane has one", names.GROUP_LAG_RECORDS.name),
        Variable("broker", "brokers by number", "kafka_messages_in_total"),
    ),
)
