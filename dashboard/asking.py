"""
What dashboards ask of Prometheus: Grafana's variables filled in, few questions at once, every answer for all viewers.

Moments are whole steps, so that the same question of two viewers, or of two refreshes, is one.
"""

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from dashboard.definitions import HEATMAP, STAT, TABLE, Panel, Variable
from dashboard.prometheus import Api
from dashboard.stores import MOMENT_S, StoreDown
from observability.logs import Log

SLOWEST_S = 15  # how often it asks the slowest (engines/scrape.py): a rate needs two answers of each
SCRAPED_S = 5  # how often Prometheus asks (engines/scrape.py); Grafana is told the same
POINTS = 180  # of a line, at most
CELLS = 60  # of a heatmap, from left to right
AT_ONCE = 6  # questions to Prometheus
PATIENCE_S = 2.2  # for all of a row's panels, so that each says within 3 s that it has no answer
KEPT_S = 20.0  # an answer that nobody asks for again
NO_ANSWER = "it does not answer"
VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)")
SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")

log = Log(__name__)


@dataclass(frozen=True)
class Shown:
    """The time that is shown: its last moment and its length, in seconds, and what the variables are set to."""

    end: float
    length_s: int
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def step_s(self) -> int:
        """Between two points: whole scrapes."""
        return max(SCRAPED_S, -(-self.length_s // POINTS // SCRAPED_S) * SCRAPED_S)


@dataclass(frozen=True)
class Question:
    """PromQL over a time, or (with no step) at its end."""

    expr: str
    start: float
    end: float
    step_s: int = 0

    def put(self, api: Api) -> tuple[Any, ...]:
        if self.step_s:
            return api.series(self.expr, self.start, self.end, self.step_s)
        return api.query(self.expr, self.end)


@dataclass(frozen=True)
class Values:
    """Which values of a label a metric has had in a time."""

    metric: str
    label: str
    start: float
    end: float

    def put(self, api: Api) -> tuple[Any, ...]:
        return api.label_values(self.metric, self.label, self.start, self.end)


@dataclass(frozen=True)
class Alerts:
    """What is pending or firing."""

    end: float

    def put(self, api: Api) -> tuple[Any, ...]:
        return api.alerts()


Asked = Question | Values | Alerts


@dataclass(frozen=True)
class Unanswered:
    """Why there is no answer."""

    why: str


Answer = tuple[Any, ...] | Unanswered


def now() -> float:
    """The last whole moment at which Prometheus asked: all who look within it ask the same."""
    return datetime.now(UTC).timestamp() // SCRAPED_S * SCRAPED_S


def filled(expr: str, shown: Shown, step_s: int) -> str:
    """The expression with a value for each of Grafana's variables; one that is not known stays, and is refused."""
    values = {
        "__rate_interval": f"{max(step_s + SLOWEST_S, 4 * SLOWEST_S)}s",
        "__interval": f"{step_s}s",
        "__range": f"{shown.length_s}s",
        "__range_s": str(shown.length_s),
    } | dict(shown.choices)
    return VARIABLE.sub(lambda found: values.get(found[1] or found[2], found[0]), expr)


def chosen(variable: Variable, values: Sequence[str]) -> str:
    """What stands for these values in a `=~`; without any it is all of them."""
    if not values:
        return variable.every
    # once for the regular expression, once for the string that it stands in
    quoted = [SPECIAL.sub(r"\\\1", value).replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return quoted[0] if len(quoted) == 1 else f"({'|'.join(quoted)})"


def questions(panel: Panel, shown: Shown) -> tuple[Question, ...]:
    """What a panel asks: a table now, all others over the time that is shown."""
    step = shown.step_s
    if panel.kind == HEATMAP:
        step *= POINTS // CELLS
    end = shown.end if panel.kind == STAT else shown.end // step * step  # numbers are of now; points stay in place
    if panel.kind == TABLE:
        return tuple(Question(filled(query.expr, shown, step), 0, shown.end) for query in panel.queries)
    start = end - shown.length_s // step * step
    return tuple(Question(filled(query.expr, shown, step), start, end, step) for query in panel.queries)


class Asker:
    """Puts questions to Prometheus, at most AT_ONCE at a time, each once however many want to know."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._local = threading.local()
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="boards")
        self._asked: dict[Asked, tuple[Future[tuple[Any, ...]], float]] = {}
        self._hangs = False

    def ask(self, wanted: Iterable[Asked]) -> Mapping[Asked, Answer]:
        """The answers, or why there are none, within PATIENCE_S; sooner while Prometheus is known not to answer."""
        futures = self._submitted(dict.fromkeys(wanted))
        wait(futures.values(), MOMENT_S if self._hangs else PATIENCE_S)
        return {one: self._answer(future) for one, future in futures.items()}

    def _submitted(self, wanted: Iterable[Asked]) -> dict[Asked, Future[tuple[Any, ...]]]:
        at = monotonic()
        with self._lock:
            self._asked = {
                one: (future, since)
                for one, (future, since) in self._asked.items()
                if at - since < KEPT_S and not (future.done() and future.exception())
            }
            for one in wanted:
                if one not in self._asked:
                    self._asked[one] = self._threads.submit(self._put, one, at), at
            return {one: self._asked[one][0] for one in wanted}

    def _put(self, one: Asked, asked_at: float) -> tuple[Any, ...]:
        if monotonic() - asked_at > PATIENCE_S:  # nobody waits for it any more
            raise StoreDown(NO_ANSWER)
        api: Api | None = getattr(self._local, "api", None)
        if api is None:
            api = self._local.api = Api(self._url)
        found = one.put(api)
        self._tell(hangs=False)
        return found

    def _answer(self, future: Future[tuple[Any, ...]]) -> Answer:
        if not future.done():
            self._tell(hangs=True)
            return Unanswered(NO_ANSWER)
        if isinstance(error := future.exception(), StoreDown):
            return Unanswered(str(error))
        return future.result()

    def _tell(self, *, hangs: bool) -> None:
        if self._hangs != hangs:
            self._hangs = hangs
            (log.warning if hangs else log.info)("Prometheus hangs" if hangs else "Prometheus answers again")
