"""The first dashboard: are the two promises kept, does everything flow, and if not, at which hop does it stop?"""

from grafana.panels import (
    ALERTS,
    ZERO,
    Board,
    Column,
    Panel,
    Row,
    above,
    ask,
    below,
    heatmap,
    lines,
    quantiles,
    stat,
    table,
)
from grafana.promql import RATE, buckets, highest, of, or_zero, rate
from observability import names

FRESHNESS_BUDGET = 0.01  # of observability/prometheus/rules/slo.yml: 1 % of a week's users may be late
PACES = (("5m", "5 minutes"), ("1h", "hour"), ("6h", "6 hours"), ("1d", "day"), ("3d", "3 days"))
FIRING = 'ALERTS{alertstate="firing", severity!="none"}'
USERS = 'topic="users.raw"'

PROMISES = Row(
    "Promises",
    (
        stat(
            "Fresh now",
            "Above 99 %: users of the last 5 minutes that were in both stores within 10 s of their fetch.",
            "percentunit",
            ask("1 - vigie:freshness_errors:ratio5m", "fresh"),
            limits=below(0.95, 0.99),
            width=4,
            runbook="freshness",
        ),
        stat(
            "Freshness: budget left this week",
            "Above a quarter. 100 %: nobody was late; 0: the week's 1 % is used up; below 0: the promise is broken.",
            "percentunit",
            ask("vigie:freshness_budget:remaining_ratio7d", "left"),
            limits=below(0, 0.25),
            width=4,
            runbook="freshness",
        ),
        stat(
            "Complete now",
            "0: users that a hop lacks or has too many, and that being in flight does not explain.",
            "suffix: users wrong",
            ask("vigie:completeness_wrong:users", "wrong"),
            limits=ZERO,
            width=4,
            runbook="completeness",
        ),
        stat(
            "Completeness: budget left this week",
            "100 %. The week's budget is one user in a hundred thousand.",
            "percentunit",
            ask("vigie:completeness_budget:remaining_ratio7d", "left"),
            limits=below(0, 0.25),
            width=4,
            runbook="completeness",
        ),
        stat(
            "Nothing arrives",
            "0. 1: a store has got neither users nor canaries for half a minute.",
            "short",
            ask("vigie:freshness:stalled", "{{store}}"),
            limits=ZERO,
            width=4,
            runbook="freshness",
        ),
        stat(
            "Alerts firing",
            "0. The list below says which; the watchdog, which always fires, is not counted.",
            "short",
            ask(or_zero(f"count({FIRING})"), "firing"),
            limits=ZERO,
            width=4,
            leads="vigie-self",
        ),
        lines(
            "Freshness: how fast the budget is used",
            "Below 1 in each window. Pages come at 14.4 (hour) and 6 (6 hours), tickets at 3 (day) and 1 (3 days).",
            "suffix: times",
            *(ask(f"vigie:freshness_errors:ratio{window} / {FRESHNESS_BUDGET}", says) for window, says in PACES),
            width=12,
            limits=above(1, 14.4),
            runbook="freshness",
        ),
        lines(
            "Late users, by lane",
            "0: the share of the last 5 minutes' users that took more than 10 s.",
            "percentunit",
            ask("lane:freshness_late:ratio_rate5m", "{{lane}}"),
            width=12,
            limits=above(0.01, 0.144),
            runbook="freshness",
        ),
    ),
)


def hop(name: str, expr: str) -> Panel:
    """One hop's users a second; one after the other they read like the way of the data."""
    return stat(
        name, "The same number at each hop, but for canaries and a batch on its way.", "suffix:/s", ask(expr, name)
    )


def counted(name: str) -> str:
    """What the auditor counts in a store, as a rate; its rounds are seconds apart."""
    return f"sum(deriv({of(names.AUDIT_COUNT, name)}[2m]))"


READ_RAW, READ_STATS = 'lane="raw"', 'lane="stats"'
STORED, SUMMED = 'hop="stored"', 'hop="summed"'

FLOW = Row(
    "Flow: users a second, hop by hop",
    (
        hop("Fetched", rate(names.USERS_FETCHED)),
        hop("Acknowledged", rate(names.USERS_ACKNOWLEDGED, where=USERS)),
        hop("On the topic", f"sum(rate({of(names.KAFKA_END_OFFSET, USERS)}[{RATE}]))"),
        hop("Read, raw lane", rate(names.LANE_ROWS, where=READ_RAW)),
        hop("Read, stats lane", rate(names.LANE_ROWS, where=READ_STATS)),
        hop("Stored", counted(STORED)),
        hop("Summed", counted(SUMMED)),
        stat(
            "Left, of the source's budget",
            "Above 0, or fetching waits for the next window; nothing is wrong then. Infinite without a budget.",
            "short",
            ask(f"{highest(names.SOURCE_BUDGET)} or on() vector(Inf)", "users"),
            leads="vigie-ingestion",
        ),
        lines(
            "Users a second, by hop",
            "Lines that lie on each other; one below the others is where the flow is held up.",
            "suffix: users/s",
            ask(rate(names.USERS_FETCHED), "fetched"),
            ask(rate(names.USERS_ACKNOWLEDGED, where=USERS), "acknowledged"),
            ask(f"sum(rate({of(names.KAFKA_END_OFFSET, USERS)}[{RATE}]))", "on the topic"),
            ask(rate(names.LANE_ROWS, "lane"), "read, {{lane}}"),
            ask(counted(STORED), "stored"),
            ask(counted(SUMMED), "summed"),
            width=12,
            leads="vigie-ingestion",
        ),
        lines(
            "Users that a hop lacks",
            "0 at every hop. Above 0 it lacks users, below it has too many.",
            "suffix: users",
            ask(highest(names.AUDIT_GAP, "check"), "{{check}}"),
            width=6,
            runbook="completeness",
            leads="vigie-stores",
        ),
        lines(
            "Users on their way",
            "A batch or two. It grows with a backlog and goes back.",
            "suffix: users",
            ask(highest(names.AUDIT_IN_FLIGHT, "check"), "{{check}}"),
            width=6,
            leads="vigie-stores",
        ),
    ),
)

FRESHNESS = Row(
    "Freshness",
    (
        lines(
            "From fetch to store, by lane: p50, p95, p99",
            "p99 below 10 s. Dots are examples, each of which opens its trace.",
            "s",
            *quantiles(names.END_TO_END, "lane", legend="{{lane}}"),
            width=12,
            limits=above(5, 10),
            runbook="freshness",
            leads="vigie-stores",
            service="spark",
        ),
        heatmap(
            "From fetch to store, spread",
            "All of it below 10 s.",
            buckets(names.END_TO_END),
            width=12,
            service="spark",
        ),
        lines(
            "Lag, by lane",
            "Below 5 s: the age of the oldest message that a lane has not read.",
            "s",
            ask("lane:vigie_behind:seconds", "{{lane}}"),
            limits=above(10, 30),
            runbook="lanes",
            leads="vigie-spark",
        ),
        lines(
            "Age of the newest user, by store",
            "Below 10 s while users are fetched.",
            "s",
            ask(highest(names.NEWEST_USER_AGE, "store"), "{{store}}"),
            limits=above(10, 60),
            runbook="freshness",
            leads="vigie-stores",
        ),
        lines(
            "Age of the newest canary, by store",
            "A saw below 20 s. It goes on when the source is quiet, and so tells that from a broken pipe.",
            "s",
            ask(highest(names.CANARY_AGE, "store"), "{{store}}"),
            limits=above(20, 30),
            runbook="freshness",
            leads="vigie-stores",
        ),
    ),
)

ALARM = Row(
    "What fires",
    (
        Panel(
            ALERTS,
            "Alerts",
            "Nothing but the watchdog, which always fires. Each leads to its runbook.",
            "none",
            (),
            12,
            9,
        ),
        table(
            "Alerts firing now",
            "Watchdog alone. A page is a symptom that users notice; tickets beside it are its cause.",
            (
                Column("alertname", "alert"),
                Column("severity", "severity"),
                Column("part", "part"),
                Column("Value", "alerts", "short"),
            ),
            ask('count by (alertname, severity, part) (ALERTS{alertstate="firing"})'),
            height=9,
        ),
    ),
)

BOARD = Board(
    "vigie-overview",
    "Vigie: overview",
    "Are the two promises kept, does everything flow, and if not, at which hop does it stop?",
    (PROMISES, FLOW, FRESHNESS, ALARM),
)
