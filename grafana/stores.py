"""The dashboard of the two stores: what they take, how quickly, and whether they hold the same users."""

from grafana import ring
from grafana.panels import (
    QUIET,
    ZERO,
    Board,
    Column,
    Row,
    Variable,
    above,
    ask,
    heatmap,
    lines,
    quantiles,
    stat,
    table,
)
from grafana.promql import buckets, highest, of, or_zero, rate, total
from observability import names

STORE = 'store=~"$store"'
NAME = "{{store}}"
STORED = of(names.AUDIT_COUNT, 'hop="stored"')
SUMMED = of(names.AUDIT_COUNT, 'hop="summed"')
CHECK_STORED, CHECK_SUMMED = 'check="stored"', 'check="summed"'

NOW = Row(
    "Now",
    (
        stat(
            "Stored",
            "Users in MongoDB since the system was first started.",
            "locale",
            ask(f"max({STORED})", "users"),
        ),
        stat(
            "Summed",
            "Users in Cassandra's sums; as many as are stored, but for a batch on its way.",
            "locale",
            ask(f"max({SUMMED})", "users"),
        ),
        stat(
            "Stored, not yet summed",
            "Near 0: the lanes are apart by a batch or two. Below 0: the stats lane is ahead.",
            "locale",
            ask(f"max({STORED}) - max({SUMMED})", "users"),
            limits=((None, "green"), (2000, "yellow"), (20000, "red")),
            runbook="completeness",
        ),
        stat(
            "Unexplained, stored",
            "0: every user that was read is stored, none twice.",
            "short",
            ask(f"abs({highest(names.AUDIT_GAP, where=CHECK_STORED)})", "users"),
            limits=ZERO,
            runbook="completeness",
        ),
        stat(
            "Unexplained, summed",
            "0: every user that was read is in the sums, none twice.",
            "short",
            ask(f"abs({highest(names.AUDIT_GAP, where=CHECK_SUMMED)})", "users"),
            limits=ZERO,
            runbook="completeness",
        ),
        stat(
            "Stores that do not answer",
            "0. The store's lane waits and tries again; the other goes on.",
            "short",
            ask(total(names.AUDIT_SILENT, where='part=~"mongodb|cassandra"'), "silent"),
            limits=ZERO,
            runbook="stores",
        ),
        stat(
            "Age of the newest user",
            "Below 10 s while users are fetched.",
            "s",
            ask(highest(names.NEWEST_USER_AGE, "store", STORE), NAME),
            limits=above(10, 60),
            runbook="freshness",
        ),
        stat(
            "Age of the newest canary",
            "Below 20 s: one is sent each 10 s and takes some seconds.",
            "s",
            ask(highest(names.CANARY_AGE, "store", STORE), NAME),
            limits=above(20, 60),
            runbook="freshness",
        ),
    ),
)

WRITES = Row(
    "Writes",
    (
        lines(
            "Writes taken",
            "MongoDB: a document a user. Cassandra: rows of minutes, days and all time that a batch touched.",
            "wps",
            ask(rate(names.STORE_WRITES, "store", STORE), NAME),
        ),
        lines(
            "Time of a batch's writes: p50, p95, p99",
            "p95 below 2.5 s.",
            "s",
            *quantiles(names.STORE_WRITE_SECONDS, "store", STORE, NAME),
            limits=above(2.5, 10),
            service="spark",
        ),
        heatmap(
            "Time of a batch's writes, spread",
            "One band for each store.",
            buckets(names.STORE_WRITE_SECONDS, STORE),
            service="spark",
        ),
        lines(
            "Writes refused",
            "0. Each is tried again; until it is taken its lane waits.",
            "wps",
            ask(or_zero(rate(names.STORE_ERRORS, "store", STORE), "store"), NAME),
            limits=QUIET,
            runbook="stores",
        ),
        lines(
            "Attempts after a failed one, of the stores",
            "None.",
            "cps",
            ask(or_zero(rate(names.RETRIES, "what", 'what=~"mongodb|cassandra|removing users"'), "what"), "{{what}}"),
            limits=QUIET,
            runbook="stores",
        ),
        lines(
            "Duplicates left out",
            "0, but after a restart: a batch that is done again finds its users there.",
            "suffix: users/s",
            ask(or_zero(rate(names.LANE_MESSAGES, "lane", 'outcome="duplicate"'), "lane"), "{{lane}}"),
            limits=QUIET,
            runbook="completeness",
        ),
    ),
)

WAY = Row(
    "The whole way",
    (
        lines(
            "From fetch to store: p50, p95, p99",
            "p99 below 10 s: the promise of freshness.",
            "s",
            *quantiles(names.END_TO_END, "lane", legend="{{lane}}"),
            limits=above(5, 10),
            runbook="freshness",
            service="spark",
        ),
        heatmap(
            "From fetch to store, spread",
            "All of it below 10 s. Dots are examples, each of which opens its trace.",
            buckets(names.END_TO_END),
            runbook="freshness",
            service="spark",
        ),
        lines(
            "Passage of the newest canary",
            "Some seconds: from the outbox to the store.",
            "s",
            ask(highest(names.CANARY_SECONDS, "store", STORE), NAME),
            limits=above(10, 30),
            runbook="freshness",
        ),
        table(
            "What each hop has counted",
            "fetched - known - rejected = acknowledged; with canaries that is on_topic and read; "
            "read = stored + copies + canaries + poison; summed as stored.",
            (Column("hop", "hop"), Column("Value", "users", "locale")),
            ask(highest(names.AUDIT_COUNT, "hop")),
            width=8,
            runbook="completeness",
        ),
        lines(
            "Stored and summed",
            "Two lines that lie on each other.",
            "locale",
            ask(f"max({STORED})", "stored"),
            ask(f"max({SUMMED})", "summed"),
            width=16,
        ),
    ),
)

BOARD = Board(
    "vigie-stores",
    "Vigie: stores",
    "MongoDB and Cassandra: what they take, how quickly, and whether they hold the same users.",
    (NOW, WRITES, WAY, ring.CASSANDRA),
    (Variable("store", "mongodb (raw lane), cassandra (stats lane)", values=("mongodb", "cassandra")),),
)
