"""The dashboard of a drill: what a fault does to flow, lag, freshness and alerts, with the fault's marks on it."""

from grafana.panels import ON_OFF, UP_DOWN, ZERO, Board, Row, above, ask, lines, timeline
from grafana.promql import gathered, highest, or_zero, quantile, rate, total
from observability import names

FIRING = {1: ("firing", "red")}
USERS = 'topic="users.raw"'
ILL = 'health!="all"'

EFFECT = Row(
    "What it does to users",
    (
        timeline(
            "Alerts firing",
            "The drill's alert within its time, silent again after the fault; the watchdog throughout.",
            FIRING,
            ask(gathered("max", 'ALERTS{alertstate="firing"}', "alertname"), "{{alertname}}"),
            leads="vigie-overview",
        ),
        lines(
            "Throughput, by hop",
            "A dip at one hop, then a peak as the backlog drains, then as before.",
            "suffix: users/s",
            ask(rate(names.USERS_FETCHED), "fetched"),
            ask(rate(names.USERS_ACKNOWLEDGED, where=USERS), "acknowledged"),
            ask(rate(names.LANE_ROWS, "lane"), "read, {{lane}}"),
            width=12,
            leads="vigie-overview",
        ),
        lines(
            "Lag, by lane",
            "Up while the fault lasts, back below 5 s after it.",
            "s",
            ask(highest(names.LANE_BEHIND_SECONDS, "lane"), "{{lane}}"),
            limits=above(10, 30),
            runbook="lanes",
            leads="vigie-spark",
        ),
        lines(
            "Freshness: p99 from fetch to store",
            "Back below 10 s once the backlog is gone.",
            "s",
            ask(quantile(0.99, names.END_TO_END, "lane"), "{{lane}}"),
            limits=above(5, 10),
            runbook="freshness",
            leads="vigie-stores",
        ),
        lines(
            "Age of the newest user and canary",
            "A saw; a ramp is a store that gets nothing.",
            "s",
            ask(highest(names.NEWEST_USER_AGE, "store"), "user, {{store}}"),
            ask(highest(names.CANARY_AGE, "store"), "canary, {{store}}"),
            limits=above(20, 30),
            runbook="freshness",
        ),
        lines(
            "Users that a hop lacks",
            "0 throughout: a fault may delay, never lose or double.",
            "suffix: users",
            ask(highest(names.AUDIT_GAP, "check"), "{{check}}"),
            limits=ZERO,
            runbook="completeness",
        ),
        lines(
            "Messages waiting in the outbox",
            "Up while brokers are gone, then back to a page.",
            "short",
            ask(total(names.OUTBOX_ROWS, "topic"), "{{topic}}"),
            runbook="outbox",
            leads="vigie-ingestion",
        ),
        lines(
            "Attempts after a failed one",
            "While the fault lasts, by who tries again.",
            "cps",
            ask(or_zero(rate(names.RETRIES, "what"), "what"), "{{what}}"),
        ),
    ),
)

FAULT = Row(
    "Where it is",
    (
        timeline(
            "Processes up",
            "The one that was hit is down for its time, the others up.",
            UP_DOWN,
            ask("min by (job, broker, part) (up)", "{{job}} {{broker}}{{part}}"),
            runbook="watchers",
            leads="vigie-self",
        ),
        timeline(
            "Lanes up",
            "One lane's failure is not the other's.",
            UP_DOWN,
            ask(highest(names.LANE_UP, "lane"), "{{lane}}"),
            width=6,
            leads="vigie-spark",
        ),
        timeline(
            "Silent to the auditor",
            "The engine that was hit, for its time.",
            ON_OFF,
            ask(highest(names.AUDIT_SILENT, "part"), "{{part}}"),
            width=6,
            leads="vigie-stores",
        ),
        lines(
            "Partitions by health",
            "Under-replicated while a broker is gone; offline never with one broker of three.",
            "short",
            ask(total(names.KAFKA_PARTITIONS, "health", ILL), "{{health}}"),
            limits=ZERO,
            runbook="kafka",
            leads="vigie-kafka",
        ),
        lines(
            "Calls of the source, by outcome",
            "Not `ok` while the source is hit; `breaker_open` is it being left alone.",
            "reqps",
            ask(rate(names.SOURCE_CALLS, "outcome"), "{{outcome}}"),
            runbook="source",
            leads="vigie-ingestion",
        ),
        lines(
            "Writes refused and restarts of lanes",
            "While a store is hit; 0 after it.",
            "cps",
            ask(or_zero(rate(names.STORE_ERRORS, "store"), "store"), "refused, {{store}}"),
            ask(or_zero(rate(names.LANE_RESTARTS, "lane"), "lane"), "restarts, {{lane}}"),
            runbook="stores",
            leads="vigie-stores",
        ),
        lines(
            "Set aside",
            "Nothing, but in the drill of malformed users or poison.",
            "suffix: users/s",
            ask(rate(names.USERS_REJECTED), "at the door"),
            ask(or_zero(rate(names.LANE_MESSAGES, where='outcome="poison"')), "poison"),
            width=12,
            runbook="completeness",
        ),
        lines(
            "Faults of the simulator",
            "0 outside drills. Empty with the real source.",
            "short",
            ask(total(names.SIMULATOR_FAULTS), "faults"),
            width=12,
        ),
    ),
)

BOARD = Board(
    "vigie-drills",
    "Vigie: drills",
    "What a fault does, from its first second to the last of its backlog. Marks of drills carry the tag `drill`.",
    (EFFECT, FAULT),
    since="now-15m",
)
