"""
What the operations page asks: the questions as data, and everything that was answered to them as one value.

All that is read anew at every tick is one PromQL expression: each part carries its name in the label `is`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from dashboard import process
from dashboard.prometheus import FIRING, PENDING, Alert, Api, Point, Sample, Target
from dashboard.stores import Down, Store
from observability import names
from services.contract import DEAD_LETTERS, USERS
from spark.contract import RAW, STATS

LANES = (RAW, STATS)
WATCHDOG = "Watchdog"  # always fires, so that its absence says that rules or their way are broken
CHART_MINUTES, CHART_STEP_S = 15, 15
CHART_EVERY_S = 10.0  # how often the chart's points are asked for


def rate(metric: names.Metric, **labels: str) -> str:
    """What a counter gained a second over the last minute, in sum."""
    chosen = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"sum(rate({metric.name}{{{chosen}}}[1m]))"


def named(expression: str, label: str, value: str) -> str:
    return f'label_replace({expression}, "{label}", "{value}", "", "")'


def quantile(q: float) -> str:
    """The seconds within which this share of the last minute's users reached each lane's store."""
    return f"histogram_quantile({q}, sum by (lane, le) (rate({names.END_TO_END.name}_bucket[1m])))"


def either(parts: Iterator[str]) -> str:
    return " or ".join(parts)


RATES = {  # by the auditor's check: what passes there
    "ingestion": rate(names.USERS_FETCHED),
    "dead_letters": rate(names.USERS_ACKNOWLEDGED, topic=DEAD_LETTERS),
    "topic": rate(names.USERS_ACKNOWLEDGED, topic=USERS),
    "read_raw": rate(names.LANE_ROWS, lane=RAW),
    "read_stats": rate(names.LANE_ROWS, lane=STATS),
    "stored": rate(names.LANE_MESSAGES, lane=RAW, outcome="user"),
    "summed": rate(names.LANE_MESSAGES, lane=STATS, outcome="user"),
}
PARTS = {
    "rate": either(named(expression, "check", check) for check, expression in RATES.items()),
    "gap": names.AUDIT_GAP.name,
    "in_flight": names.AUDIT_IN_FLIGHT.name,
    "audit_age": f"time() - max({names.AUDIT_LAST_ROUND.name} > 0)",
    "silent": f"{names.AUDIT_SILENT.name} == 1",
    "outbox": f"sum by (topic) ({names.OUTBOX_ROWS.name})",
    "paused": f"{names.SOURCE_PAUSED.name} == 1",
    "breaker": f'{names.SOURCE_BREAKER.name}{{state!="closed"}} == 1',
    "done": f"{names.SOURCE_DONE.name} == 1",
    "lane_up": names.LANE_UP.name,
    "outbox_age": f"max({names.OUTBOX_AGE.name})",
    "behind": "lane:vigie_behind:seconds",  # as the lane says, else (it may be gone) as its consumer group's offsets do
    "p50": quantile(0.5),
    "p95": quantile(0.95),
    "canary_age": names.CANARY_AGE.name,
    "canary_passage": names.CANARY_SECONDS.name,
    "newest_user": names.NEWEST_USER_AGE.name,
    # recorded by observability/prometheus/rules/slo.yml: shares of users, of time, of the budget
    "late_5m": "vigie:freshness_errors:ratio5m",
    "late_1h": "vigie:freshness_errors:ratio1h",
    "late_7d": "vigie:freshness_errors:ratio7d",
    "watched_1h": "vigie:freshness_seen:ratio1h",
    "fresh_budget": "vigie:freshness_budget:remaining_ratio7d",
    "wrong_users": "vigie:completeness_wrong:users",
    "complete_budget": "vigie:completeness_budget:remaining_ratio7d",
}
QUESTION = either(named(f"({expression})", "is", name) for name, expression in PARTS.items())
DELAYS = either(named(quantile(q), "quantile", name) for name, q in (("p50", 0.5), ("p95", 0.95)))


@dataclass(frozen=True)
class Board:
    """What Prometheus knows now: values by the names of PARTS, whom it asks, what alerts."""

    values: Mapping[str, tuple[Sample, ...]]
    targets: tuple[Target, ...]
    alerts: tuple[Alert, ...]

    @property
    def as_of(self) -> datetime | None:
        """When it last had an answer from anybody: nothing shown is newer; None before the first."""
        return max((target.asked_at for target in self.targets if target.health == "up"), default=None)

    def value(self, name: str, **labels: str) -> float | None:
        """The one value with these labels; None if there is none."""
        return next((one.value for one in self.values.get(name, ()) if labels.items() <= one.labels.items()), None)

    def having(self, name: str, label: str) -> tuple[str, ...]:
        """What a label says in the values of this name."""
        return tuple(sorted({one.labels.get(label, "") for one in self.values.get(name, ())}))

    @property
    def watchdog(self) -> bool:
        """Whether the alert that always fires does."""
        return any(alert.name == WATCHDOG and alert.state == FIRING for alert in self.alerts)

    @property
    def broken(self) -> tuple[Alert, ...]:
        """The alerts that fire, the oldest first, and after them those that are about to."""
        states = (FIRING, PENDING)
        found = (alert for alert in self.alerts if alert.name != WATCHDOG and alert.state in states)
        return tuple(sorted(found, key=lambda alert: (states.index(alert.state), alert.since, alert.name)))


@dataclass(frozen=True)
class Watched:
    """What the watchers said, or that they are down."""

    board: Board | Down
    delays: tuple[Point, ...] | Down
    suppressed: tuple[dict[str, str], ...] | Down


@dataclass(frozen=True)
class Watchers:
    """The page's questions to the watchers, asked together, so that ones that hang cost the patience of one."""

    board: Store[Board]
    delays: Store[tuple[Point, ...]]
    suppressed: Store[tuple[dict[str, str], ...]]

    def read(self) -> Watched:
        """What each says now."""
        board, delays, suppressed = self.board.ask(), self.delays.ask(), self.suppressed.ask()
        said = Watched(self.board.answer(board), self.delays.answer(delays), self.suppressed.answer(suppressed))
        for source, answer in (
            ("prometheus", said.board),
            ("prometheus", said.delays),
            ("alertmanager", said.suppressed),
        ):
            process.count_read(source, down=isinstance(answer, Down))
        return said


def watchers(prometheus: str, alertmanager: str) -> Watchers:
    """The watchers at these URLs; none is connected to before it is asked."""
    of_board, of_delays, of_alerts = (Api(url) for url in (prometheus, prometheus, alertmanager))
    here, there = urlsplit(prometheus).netloc, urlsplit(alertmanager).netloc
    return Watchers(
        Store("Prometheus", here, lambda: board(of_board)),
        Store("Prometheus's history", here, lambda: delays(of_delays, datetime.now(UTC)), keep_s=CHART_EVERY_S),
        Store("Alertmanager", there, of_alerts.suppressed),
    )


def board(api: Api) -> Board:
    """
    Read the board.

    Raises:
        StoreDown: Prometheus cannot be reached, does not answer, or answers what it should not.
    """
    values: dict[str, list[Sample]] = {}
    for one in api.query(QUESTION):
        values.setdefault(one.labels.get("is", ""), []).append(one)
    return Board({name: tuple(found) for name, found in values.items()}, api.targets(), api.alerts())


def delays(api: Api, now: datetime) -> tuple[Point, ...]:
    """
    Read p50 and p95 of each lane over the last CHART_MINUTES, at whole steps, so that points stay where they were.

    Raises:
        StoreDown: as for the board.
    """
    end = datetime.fromtimestamp(now.timestamp() // CHART_STEP_S * CHART_STEP_S, UTC)
    return api.query_range(DELAYS, end - timedelta(minutes=CHART_MINUTES), end, CHART_STEP_S)
