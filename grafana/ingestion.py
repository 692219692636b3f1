"""The dashboard of the first hops: the source, the door, the outbox, the publisher; and the simulator."""

from grafana.panels import (
    QUIET,
    ZERO,
    Board,
    Row,
    above,
    ask,
    below,
    heatmap,
    lines,
    quantiles,
    stacked,
    stat,
    timeline,
)
from grafana.promql import age, buckets, grown, highest, or_zero, rate, total
from observability import names

NOT_OK = or_zero(rate(names.SOURCE_CALLS, where='outcome!="ok"'))
HALF_OPEN = total(names.SOURCE_BREAKER, where='state="half_open"')
OPEN = total(names.SOURCE_BREAKER, where='state="open"')
BREAKER = {0: ("closed", "green"), 1: ("half open", "yellow"), 2: ("open", "red")}
PAUSED = {0: ("fetching", "green"), 1: ("waiting", "yellow")}
DONE = {0: ("fetching", "green"), 1: ("all pages kept", "blue")}

NOW = Row(
    "Now",
    (
        stat(
            "Circuit breaker",
            "Closed. Open: the source failed so often that it is left alone for a while.",
            "none",
            ask(f"{HALF_OPEN} + 2 * {OPEN}", "breaker"),
            limits=((None, "green"), (1, "yellow"), (2, "red")),
            words=BREAKER,
            runbook="source",
        ),
        stat(
            "Age of the last page",
            "Seconds at the usual rate; minutes only while a budget, a full outbox or the source holds it up.",
            "s",
            ask(age(names.SOURCE_LAST_PAGE), "age"),
            limits=above(60, 300),
            runbook="source",
        ),
        stat(
            "Budget left",
            "Users that may be asked for in this window; infinite without a budget. At 0 fetching waits for the next.",
            "short",
            ask(f"{highest(names.SOURCE_BUDGET)} or on() vector(Inf)", "users"),
            limits=below(1, 1000),
        ),
        stat(
            "Outbox filled",
            "Near 0 %. It grows while the brokers are gone; at 100 % fetching pauses.",
            "percentunit",
            ask(f"{total(names.OUTBOX_BYTES)} / {highest(names.OUTBOX_MAX_BYTES)}", "filled"),
            limits=above(0.25, 0.75),
            runbook="outbox",
        ),
        stat(
            "Oldest message waiting",
            "Below a second or two: what is kept is published at once.",
            "s",
            ask(highest(names.OUTBOX_AGE), "age"),
            limits=above(5, 60),
            runbook="outbox",
        ),
        stat(
            "Set aside in the time shown",
            "0. Anything else is a record that broke the source's contract and waits as a dead letter.",
            "short",
            ask(grown(names.USERS_REJECTED), "users"),
            limits=ZERO,
            runbook="completeness",
        ),
        stat(
            "Run",
            "Fetching, or done when VIGIE_PAGES pages were asked for and are kept.",
            "none",
            ask(highest(names.SOURCE_DONE), "run"),
            words=DONE,
        ),
        stat(
            "Faults of the simulator",
            "0, but in a drill. Empty with the real source.",
            "short",
            ask(total(names.SIMULATOR_FAULTS), "faults"),
            limits=ZERO,
        ),
    ),
)

SOURCE = Row(
    "The source",
    (
        stacked(
            "Calls by outcome",
            "Nearly all `ok`. `limited` is the source's rate limit, `unavailable` a time-out, 5xx or broken page.",
            "reqps",
            ask(rate(names.SOURCE_CALLS, "outcome"), "{{outcome}}"),
            service="ingest",
        ),
        lines(
            "Share of calls that failed",
            "0. Above a tenth for minutes the source is ill; above a half the breaker opens.",
            "percentunit",
            ask(f"({NOT_OK}) / {rate(names.SOURCE_CALLS)}", "failed"),
            limits=above(0.1, 0.5),
            runbook="source",
        ),
        timeline(
            "Waiting, by reason",
            "Fetching, but for `budget` at the end of a window. `outbox_full`: the brokers have been gone for long.",
            PAUSED,
            ask(highest(names.SOURCE_PAUSED, "reason"), "{{reason}}"),
            width=8,
            runbook="outbox",
        ),
        heatmap(
            "Time of a call",
            "One dark band below a second. Dots are examples, each of which opens its trace.",
            buckets(names.SOURCE_CALL_SECONDS),
            service="ingest",
        ),
        lines(
            "Time of a call: p50, p95, p99",
            "p99 below the read time-out (10 s), p50 well below a second.",
            "s",
            *quantiles(names.SOURCE_CALL_SECONDS),
            limits=above(2.5, 10),
            service="ingest",
        ),
        lines(
            "Attempts after a failed one",
            "None. A few now and then are the network; steady ones name who fails.",
            "cps",
            ask(or_zero(rate(names.RETRIES, "what"), "what"), "{{what}}"),
            limits=QUIET,
            runbook="source",
        ),
    ),
)

DOOR = Row(
    "The door",
    (
        lines(
            "Users fetched, known, set aside",
            "Fetched at the rate that was set; known and set aside at 0.",
            "suffix: users/s",
            ask(rate(names.USERS_FETCHED), "fetched"),
            ask(rate(names.USERS_KNOWN), "known already"),
            ask(rate(names.USERS_REJECTED), "set aside"),
            ask(rate(names.SOURCE_REPEATS), "pages repeated"),
        ),
        stacked(
            "Set aside, by reason",
            "Nothing. One reason that goes on is a change of the source's contract.",
            "cps",
            ask(or_zero(rate(names.REJECTIONS, "reason"), "reason"), "{{reason}}"),
            runbook="completeness",
        ),
        lines(
            "Canaries sent",
            "One each VIGIE_CANARY_S (10 s): 0.1 a second. At 0 nothing tells a quiet source from a broken pipe.",
            "cps",
            ask(rate(names.CANARIES_SENT), "canaries"),
            limits=below(0.01, 0.05),
            runbook="freshness",
        ),
    ),
)

OUTBOX = Row(
    "The outbox and the publisher",
    (
        lines(
            "Messages waiting",
            "A page at most: what is kept is published at once.",
            "short",
            ask(total(names.OUTBOX_ROWS, "topic"), "{{topic}}"),
            limits=above(1000, 20000),
            runbook="outbox",
        ),
        lines(
            "Bytes waiting, and the bound",
            "Far below the bound, at which fetching pauses.",
            "bytes",
            ask(total(names.OUTBOX_BYTES), "waiting"),
            ask(highest(names.OUTBOX_MAX_BYTES), "bound"),
            runbook="outbox",
        ),
        lines(
            "Age of the oldest message waiting",
            "Below a second or two.",
            "s",
            ask(highest(names.OUTBOX_AGE), "oldest"),
            limits=above(5, 60),
            runbook="outbox",
        ),
        lines(
            "Messages acknowledged",
            "As many users as are fetched, but for known ones; dead letters at 0.",
            "suffix: messages/s",
            ask(rate(names.USERS_ACKNOWLEDGED, "topic"), "{{topic}}"),
            leads="vigie-kafka",
        ),
        lines(
            "Time from sending to acknowledgement",
            "p99 below a second: three brokers have it on disk or in memory.",
            "s",
            *quantiles(names.PUBLISH_SECONDS),
            limits=above(1, 5),
            leads="vigie-kafka",
            service="ingest",
        ),
        heatmap(
            "Time to acknowledgement, spread",
            "One band below a tenth of a second; a second band is a broker that is slow or gone.",
            buckets(names.PUBLISH_SECONDS),
            service="ingest",
        ),
    ),
)

SIMULATOR = Row(
    "The simulator (empty with the real source)",
    (
        stacked(
            "Requests by status",
            "200, and 429 when more users are asked for than its limit.",
            "reqps",
            ask(rate(names.SIMULATOR_REQUESTS, "status"), "{{status}}"),
            width=12,
        ),
        lines(
            "Users served",
            "As many as are fetched: a difference is pages that were lost on their way and asked for again.",
            "suffix: users/s",
            ask(rate(names.SIMULATOR_USERS), "served"),
            ask(rate(names.USERS_FETCHED), "fetched"),
            width=12,
        ),
    ),
)

BOARD = Board(
    "vigie-ingestion",
    "Vigie: ingestion",
    "From the source to the brokers' acknowledgement: is the source well, is anything set aside, does anything wait?",
    (NOW, SOURCE, DOOR, OUTBOX, SIMULATOR),
)
