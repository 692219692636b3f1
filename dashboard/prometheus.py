"""
What Prometheus and the Alertmanager say over HTTP, decoded and checked: values, targets, alerts. No cache, no retry.

Each call raises StoreDown when there is no answer within TIMEOUT_S, or one that the API's description does not allow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite, isinf
from typing import Any, TypeVar

import msgspec
import requests

from dashboard.stores import StoreDown

T = TypeVar("T")

TIMEOUT_S = (0.5, 2.0)  # to connect, and to wait for bytes
MAX_CHARACTERS = 120  # of an error's text that a page shows
FIRING, PENDING, SUPPRESSED = "firing", "pending", "suppressed"


@dataclass(frozen=True)
class Sample:
    """One series' value now; None where Prometheus has computed none (0/0)."""

    labels: Mapping[str, str]
    value: float | None


@dataclass(frozen=True)
class Point:
    """One series' value at a moment of a range."""

    labels: Mapping[str, str]
    at: datetime
    value: float


@dataclass(frozen=True)
class Series:
    """One series over a time: when (seconds since 1970) and what; None where nothing could be computed."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float | None], ...]


@dataclass(frozen=True)
class Target:
    """One address that Prometheus asks: `health` is up, down or unknown (not asked yet), `asked_at` the last time."""

    job: str
    instance: str
    health: str
    error: str
    asked_at: datetime


@dataclass(frozen=True)
class Alert:
    """One alert that is pending or firing, since when its condition holds."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str
    since: datetime

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")


class _Series(msgspec.Struct):
    metric: dict[str, str] = {}
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] = []


class _Result(msgspec.Struct):
    result: list[_Series]


class _Scraped(msgspec.Struct, rename="camel"):
    labels: dict[str, str]
    health: str
    last_error: str
    last_scrape: datetime


class _Targets(msgspec.Struct, rename="camel"):
    active_targets: list[_Scraped]


class _Alert(msgspec.Struct, rename="camel"):
    labels: dict[str, str]
    annotations: dict[str, str]
    state: str
    active_at: datetime


class _Alerts(msgspec.Struct):
    alerts: list[_Alert]


class _Status(msgspec.Struct):
    state: str


class _Routed(msgspec.Struct):
    labels: dict[str, str]
    status: _Status


class _Answer(msgspec.Struct):
    data: msgspec.Raw


@dataclass(frozen=True)
class Api:
    """One server's API; not for two threads at once."""

    base: str
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False  # a proxy of the environment is for the internet

    def query(self, question: str, at: float | None = None) -> tuple[Sample, ...]:
        """The values of a PromQL expression now, or at a moment."""
        when = {} if at is None else {"time": at}
        found = self._prometheus("query", _Result, query=question, **when).result
        return tuple(Sample(one.metric, number(one.value[1])) for one in found if one.value is not None)

    def query_range(self, question: str, start: datetime, end: datetime, step_s: int) -> tuple[Point, ...]:
        """The values of a PromQL expression over a time, without those that are none."""
        words = {"query": question, "start": start.timestamp(), "end": end.timestamp(), "step": step_s}
        return tuple(
            Point(one.metric, datetime.fromtimestamp(at, UTC), value)
            for one in self._prometheus("query_range", _Result, **words).result
            for at, text in one.values
            if (value := number(text)) is not None
        )

    def series(self, question: str, start: float, end: float, step_s: int) -> tuple[Series, ...]:
        """The series of a PromQL expression over a time, point by point."""
        words = {"query": question, "start": start, "end": end, "step": step_s}
        return tuple(
            Series(one.metric, tuple((at, number(text, infinite=True)) for at, text in one.values))
            for one in self._prometheus("query_range", _Result, **words).result
        )

    def label_values(self, metric: str, label: str, start: float, end: float) -> tuple[str, ...]:
        """The values that a label of a metric has had in a time."""
        words = {"match[]": metric, "start": start, "end": end}
        return tuple(sorted(self._prometheus(f"label/{label}/values", list[str], **words)))

    def targets(self) -> tuple[Target, ...]:
        """Everything that Prometheus asks."""
        found = self._prometheus("targets", _Targets, state="active").active_targets
        return tuple(
            Target(
                one.labels.get("job", ""),
                one.labels.get("instance", ""),
                one.health,
                one.last_error[:MAX_CHARACTERS],
                one.last_scrape,
            )
            for one in found
        )

    def alerts(self) -> tuple[Alert, ...]:
        """The alerts that are pending or firing, as Prometheus judges by itself; the oldest first."""
        found = self._prometheus("alerts", _Alerts).alerts
        alerts = (Alert(one.labels, one.annotations, one.state, one.active_at) for one in found)
        return tuple(sorted(alerts, key=lambda alert: (alert.since, alert.name)))

    def suppressed(self) -> tuple[dict[str, str], ...]:
        """The labels of the alerts that the Alertmanager holds back: silenced, or inhibited by another one."""
        found = self._decoded(self._get("/api/v2/alerts", {}), list[_Routed])
        return tuple(one.labels for one in found if one.status.state == SUPPRESSED)

    def _prometheus(self, what: str, kind: type[T], **words: Any) -> T:
        return self._decoded(self._decoded(self._get(f"/api/v1/{what}", words), _Answer).data, kind)

    def _get(self, path: str, words: Mapping[str, Any]) -> bytes:
        try:
            answer = self.session.get(f"{self.base}{path}", params=words, timeout=TIMEOUT_S)
            if answer.ok:
                return answer.content
        except requests.ConnectionError as error:
            raise StoreDown("it cannot be reached") from error
        except requests.Timeout as error:
            raise StoreDown("it does not answer") from error
        except requests.RequestException as error:
            raise StoreDown(f"it cannot be read ({type(error).__name__})") from error
        raise StoreDown(f"it answers {answer.status_code} to {path}: {answer.text[:MAX_CHARACTERS]}")

    @staticmethod
    def _decoded(body: bytes | msgspec.Raw, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreDown(f"its answer is none that it should give: {error}") from error


def number(text: str, *, infinite: bool = False) -> float | None:
    """A value as Prometheus writes it; None for NaN, which is what 0/0 gives, and (unless wanted) for infinities."""
    try:
        value = float(text)
    except ValueError as error:
        raise StoreDown(f"its answer has {text[:20]!r} for a number") from error
    return value if isfinite(value) or (infinite and isinf(value)) else None
