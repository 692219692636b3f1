"""The dashboard of the two Spark lanes: are they up, do they keep pace, what do their batches spend their time on?"""

from grafana import driver
from grafana.panels import (
    UP_DOWN,
    ZERO,
    Board,
    Row,
    Variable,
    above,
    ask,
    heatmap,
    lines,
    quantiles,
    stacked,
    stat,
    timeline,
)
from grafana.promql import buckets, grown, highest, or_zero, rate, total
from observability import names

LANE = 'lane=~"$lane"'
NAME = "{{lane}}"

NOW = Row(
    "Now",
    (
        stat(
            "Lanes up",
            "2: both queries run. One lane's failure is not the other's.",
            "short",
            ask(total(names.LANE_UP), "up"),
            limits=((None, "red"), (1, "yellow"), (2, "green")),
            runbook="lanes",
        ),
        stat(
            "Restarts in the time shown",
            "0. Each is a query that failed and was started again from its checkpoint.",
            "short",
            ask(or_zero(grown(names.LANE_RESTARTS, "lane", LANE), "lane"), NAME),
            limits=above(1, 3),
            runbook="lanes",
        ),
        stat(
            "Behind, in seconds",
            "Below a batch or two (5 s): the age of the oldest message that a lane has not read.",
            "s",
            ask(highest(names.LANE_BEHIND_SECONDS, "lane", LANE), NAME),
            limits=above(10, 60),
            width=4,
            runbook="lanes",
        ),
        stat(
            "Age of the last batch",
            "Below ten seconds: a canary comes even when the source is quiet.",
            "s",
            ask(f"time() - {highest(names.LANE_LAST_BATCH, 'lane', LANE)}", NAME),
            limits=above(30, 120),
            width=4,
            runbook="lanes",
        ),
        stat(
            "Late rows dropped in the time shown",
            "0: event time is the broker's, so nothing is ever late.",
            "short",
            ask(or_zero(grown(names.LANE_LATE_ROWS, "lane", LANE), "lane"), NAME),
            limits=ZERO,
            width=4,
            runbook="lanes",
        ),
        stat(
            "Failed commits in the time shown",
            "0. The lane goes on; Kafka's tools and the audit see an old offset meanwhile.",
            "short",
            ask(or_zero(grown(names.LANE_COMMITS_FAILED, "lane", LANE), "lane"), NAME),
            limits=above(1, 10),
            width=3,
            runbook="lanes",
        ),
        stat(
            "Poison in the time shown",
            "0. Each is a message that is no user event and was set aside as a dead letter.",
            "short",
            ask(or_zero(grown(names.LANE_MESSAGES, where=f'outcome="poison", {LANE}')), "messages"),
            limits=ZERO,
            width=3,
            runbook="completeness",
        ),
    ),
)

PACE = Row(
    "Pace",
    (
        timeline(
            "Query running",
            "Up all the time; a red gap is a restart.",
            UP_DOWN,
            ask(highest(names.LANE_UP, "lane", LANE), NAME),
            width=8,
            runbook="lanes",
        ),
        lines(
            "Messages read",
            "As many as come in; more while a backlog drains.",
            "suffix: messages/s",
            ask(rate(names.LANE_ROWS, "lane", LANE), NAME),
        ),
        lines(
            "Arrived and worked off, of the last batch",
            "Worked off above arrived: there is room. Below it for long: the lane falls behind.",
            "suffix: rows/s",
            ask(highest(names.LANE_INPUT_RATE, "lane", LANE), "{{lane}} arrived"),
            ask(highest(names.LANE_PROCESSED_RATE, "lane", LANE), "{{lane}} worked off"),
        ),
        lines(
            "Seconds behind, by partition",
            "Below a batch or two in each.",
            "s",
            ask(highest(names.LANE_BEHIND_SECONDS, "lane, partition", LANE), "{{lane}} {{partition}}"),
            limits=above(10, 60),
            runbook="lanes",
            leads="vigie-kafka",
        ),
        lines(
            "Messages behind, by partition",
            "A batch's worth, even over the partitions.",
            "short",
            ask(total(names.LANE_BEHIND_RECORDS, "lane, partition", LANE), "{{lane}} {{partition}}"),
            limits=above(1000, 10000),
            runbook="lanes",
            leads="vigie-kafka",
        ),
        stacked(
            "Messages by what became of them",
            "`user` at the rate of fetching, `canary` 0.1 a second; `duplicate` and `poison` at 0.",
            "suffix: messages/s",
            ask(rate(names.LANE_MESSAGES, "lane, outcome", LANE), "{{lane}} {{outcome}}"),
            leads="vigie-stores",
        ),
    ),
)

BATCHES = Row(
    "Batches",
    (
        lines(
            "Batches with rows",
            "One a second (`VIGIE_TRIGGER_MS`), fewer while a backlog drains.",
            "cps",
            ask(rate(names.LANE_BATCHES, "lane", LANE), NAME),
        ),
        lines(
            "Time of a batch: p50, p95, p99",
            "p95 below 5 s: a user waits for the batch before its own, and for its own.",
            "s",
            *quantiles(names.LANE_BATCH_SECONDS, "lane", LANE, NAME),
            limits=above(5, 10),
            service="spark",
        ),
        heatmap(
            "Time of a batch, spread",
            "One band for each lane.",
            buckets(names.LANE_BATCH_SECONDS, LANE),
            service="spark",
        ),
        stacked(
            "Where batches spend their time",
            "Most of it addBatch, the stores; walCommit and commitOffsets are the disk. At 1 a lane is always busy.",
            "percentunit",
            ask(rate(names.LANE_PHASE_SECONDS, "lane, phase", LANE), "{{lane}} {{phase}}"),
            width=24,
        ),
    ),
)

STATE = Row(
    "State of the stats lane",
    (
        lines(
            "Rows in the state store",
            "Users and minutes of VIGIE_DEDUP_MINUTES; level after that time. A batch looks at each: 0.7 us.",
            "short",
            ask(total(names.LANE_STATE_ROWS, "lane", LANE), NAME),
        ),
        lines(
            "Memory of the state store",
            "Level as the rows are.",
            "bytes",
            ask(total(names.LANE_STATE_BYTES, "lane", LANE), NAME),
        ),
        lines(
            "Batches since it was kept whole",
            "A saw, from a few to the batches of a minute: Spark keeps it whole each minute; a start reads the rest.",
            "short",
            ask(highest(names.LANE_SNAPSHOT_AGE, "lane", LANE), NAME),
        ),
        lines(
            "Age of the watermark",
            "The dedup's minutes and a batch; it grows when no messages come. Empty before the first.",
            "s",
            ask(f"time() - ({highest(names.LANE_WATERMARK, 'lane', LANE)} > 0)", NAME),
        ),
    ),
)

BOARD = Board(
    "vigie-spark",
    "Vigie: Spark",
    "The two lanes: up, at pace, and what their batches spend their time on.",
    (NOW, PACE, BATCHES, STATE, driver.MEMORY, driver.WORK),
    (Variable("lane", "raw (MongoDB), stats (Cassandra)", values=("raw", "stats")),),
)
