"""
The Random User API, called so that it can fail in any way it likes.

    SourceError
    ├── SourceUnavailable       it may answer if asked again: no connection, time-outs, 5xx, a body that is no page
    │   └── SourceLimited       429: it gives no more users in its window of time
    └── SourceRefused           asking the same again will not help soon: 404 and other 4xx
"""

import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
import pybreaker
import requests
import urllib3
from opentelemetry.trace import Span

from observability import metrics, names, retry, tracing
from observability.logs import Log

log = Log(__name__)

MOST_CAUSES = 6  # of an error that are told
MAX_BODY_BYTES = 64 * 2**20  # 5,000 users, the API's most, are 6 MB
MAX_RETRY_AFTER_S = 300.0  # the API's own window; a proxy that asks for a day is asked again after this
MAX_PAGE = 10_000  # the API answers page 1 to anything above
UNLIMITED = sys.maxsize  # the users of a budget that is none

OK, LIMITED, UNAVAILABLE, REFUSED, BREAKER_OPEN = OUTCOMES = ("ok", "limited", "unavailable", "refused", "breaker_open")


class SourceError(Exception):
    """The base of what a call can end in instead of a page."""


class SourceUnavailable(SourceError):
    """The source may answer if asked again, not before `retry_after` seconds where it said so."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class SourceLimited(SourceUnavailable):
    """It gives no more users in its window of time."""


class SourceRefused(SourceError):
    """Asking the same again will not help soon."""


class _Info(msgspec.Struct):
    seed: str
    page: int


class _Body(msgspec.Struct):
    results: list[msgspec.Raw] | None = None
    info: _Info | None = None
    error: object = None


_body = msgspec.json.Decoder(_Body)


@dataclass(frozen=True)
class Cursor:
    """The next call: which page of which seed, how many users, of which nationalities (comma list, empty for all)."""

    seed: str
    page: int
    page_size: int
    nationalities: str = ""


def generation_of(seed: str, n: int) -> str:
    """The n-th seed of a run. It ends in no digit: the API hashes seed and page as one text."""
    return f"{seed}.{n}." if n else seed


def parted(seed: str) -> tuple[str, int]:
    """The run's own seed, and of which generation `seed` is."""
    found = re.fullmatch(r"(.+)\.(\d{1,4})\.", seed, re.DOTALL)
    return (found[1], int(found[2])) if found else (seed, 0)


@dataclass(frozen=True)
class Timeouts:
    """Seconds to connect, between two pieces of an answer, and for the whole call."""

    connect_s: float
    read_s: float
    call_s: float


class Budget:
    """Never more than `users` users asked for within any `window_s` seconds, so that the API's limit is not met."""

    def __init__(
        self,
        users: int,
        window_s: float,
        spent: list[tuple[float, int]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.users, self.window_s, self.clock = users, window_s, clock
        self.calls = deque(spent or [])

    def wait_s(self, users: int) -> float:
        """Seconds until `users` more users fit; 0 now."""
        now = self.clock()
        if any(at > now for at, _ in self.calls):  # the clock was ahead, and is put back: they were before now
            self.calls = deque((min(at, now), n) for at, n in self.calls)
        self._forget(now)
        excess = sum(n for _, n in self.calls) + users - self.users
        for at, n in self.calls:
            if excess <= 0:
                return 0.0
            excess -= n
            if excess <= 0:
                return max(0.0, at + self.window_s - now)
        return 0.0

    def spend(self, users: int) -> None:
        now = self.clock()
        self._forget(now)
        self.calls.append((now, users))

    def _forget(self, now: float) -> None:
        while self.calls and self.calls[0][0] <= now - self.window_s:
            self.calls.popleft()

    def left(self) -> int:
        """How many users may still be asked for now; from any thread."""
        since = self.clock() - self.window_s
        return max(0, self.users - sum(n for at, n in tuple(self.calls) if at > since))


class Client:
    """Fetches pages: budget first, then the call, counted and timed, tried again with backoff, behind a breaker."""

    def __init__(self, url: str, timeouts: Timeouts, budget: Budget, stopping: threading.Event) -> None:
        self.url, self.timeouts, self.budget, self.stopping = url, timeouts, budget, stopping
        self.session = requests.Session()
        self.session.headers["User-Agent"] = "vigie/0.1"
        self.breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=5, throw_new_error_on_trip=False)
        self.retrying = retry.policy("source", SourceUnavailable, attempts=4, longest_s=5, stopping=stopping)
        self.attempt = 0
        self.calls = {outcome: metrics.counter(names.SOURCE_CALLS).labels(outcome) for outcome in OUTCOMES}
        self.paused = metrics.gauge(names.SOURCE_PAUSED).labels("budget")

    def page(self, cursor: Cursor) -> list[bytes]:
        """
        Return the records of the cursor's page, as the source sent them.

        Raises:
            SourceError: after the last attempt, or at once where another cannot help; also when the breaker is open.
        """
        self.attempt = 0
        try:
            return self.retrying(self.breaker.call, self._once, cursor)
        except pybreaker.CircuitBreakerError as error:
            self.calls[BREAKER_OPEN].inc()
            raise SourceRefused("the breaker is open: the source failed 5 times in a row") from error

    def wait_for_budget(self, users: int) -> None:
        """Wait until `users` users fit into the budget, or until `stopping`."""
        while (wait_s := self.budget.wait_s(users)) > 0 and not self.stopping.is_set():
            self.paused.set(1)
            log.info("budget spent: waiting", wait_s=round(wait_s, 1))
            self.stopping.wait(min(wait_s, 30))
        self.paused.set(0)

    def _once(self, cursor: Cursor) -> list[bytes]:
        self.wait_for_budget(cursor.page_size)
        if self.stopping.is_set():
            raise SourceRefused("stopping")
        self.attempt += 1
        self.budget.spend(cursor.page_size)
        began, outcome = time.perf_counter(), OK
        with tracing.span(names.CALL, address(self.url) | {"vigie.attempt": self.attempt}) as made:
            try:
                return records(self._body(cursor, made), cursor)
            except SourceError as error:
                outcome = outcome_of(error)
                raise
            finally:
                self.calls[outcome].inc()
                took_s, context = time.perf_counter() - began, tracing.current()
                metrics.histogram(names.SOURCE_CALL_SECONDS).observe(took_s, tracing.exemplar(context))

    def _body(self, cursor: Cursor, made: Span) -> bytes:
        ends = time.monotonic() + self.timeouts.call_s
        params: dict[str, str | int] = {"results": cursor.page_size, "page": cursor.page, "seed": cursor.seed}
        if cursor.nationalities:
            params["nat"] = cursor.nationalities
        try:
            with self.session.get(
                self.url, params=params, timeout=(self.timeouts.connect_s, self.timeouts.read_s), stream=True
            ) as response:
                made.set_attribute("http.response.status_code", response.status_code)
                check_status(response.status_code, response.headers.get("Retry-After"))
                body = bytearray()
                while piece := response.raw.read1(65536, decode_content=True):
                    body += piece
                    if len(body) > MAX_BODY_BYTES:
                        raise SourceUnavailable(f"the body is larger than {MAX_BODY_BYTES:,} bytes")
                    if time.monotonic() > ends:
                        raise SourceUnavailable(f"the call took longer than {self.timeouts.call_s} s")
                return bytes(body)
        except (requests.RequestException, OSError, urllib3.exceptions.HTTPError) as error:
            place = address(self.url)
            told = f"{place['server.address']}:{place['server.port']}: {causes(error)}"
            raise SourceUnavailable(told) from error


def address(url: str) -> dict[str, str | int]:
    """A call's attributes that its URL decides: host and port, and nothing of what else stands in it."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"http.request.method": "GET", "server.address": parts.hostname or "", "server.port": port}


def causes(error: BaseException) -> str:
    """
    The classes of an error and of its causes, and what the system said of them.

    Their texts are left out: bytes of the answer and queries of URLs stand in those, and so persons and keys.
    """
    told: list[str] = []
    cause: object = error
    while isinstance(cause, BaseException) and len(told) < MOST_CAUSES:
        said = f" ({cause.strerror})" if isinstance(cause, OSError) and cause.errno and cause.strerror else ""
        told.append(f"{type(cause).__name__}{said}")
        inner = [getattr(cause, "reason", None), *cause.args[:1], cause.__cause__, cause.__context__]
        cause = next((one for one in inner if isinstance(one, BaseException)), None)
    return ": ".join(dict.fromkeys(told))


def outcome_of(error: SourceError) -> str:
    """Which of OUTCOMES a failed call is counted as."""
    if isinstance(error, SourceLimited):
        return LIMITED
    return UNAVAILABLE if isinstance(error, SourceUnavailable) else REFUSED


def of_source(client: Client) -> Iterator[metrics.Sample]:
    """What is read at every scrape: the breaker's state, and what is left of the budget where there is one."""
    now = client.breaker.current_state.replace("-", "_")
    for state in ("closed", "half_open", "open"):
        yield names.SOURCE_BREAKER, {"state": state}, float(state == now)
    if client.budget.users < UNLIMITED:
        yield names.SOURCE_BUDGET, {}, client.budget.left()


def check_status(status: int, retry_after: str | None) -> None:
    """
    Raise what an HTTP status means; return on 200.

    Raises:
        SourceLimited: 429, with the seconds of a Retry-After (the form with a date is not read).
        SourceUnavailable: 408, 425 and 5xx, likewise.
        SourceRefused: every other status.
    """
    if status == requests.codes.ok:
        return
    if status in (408, 425, 429) or status >= requests.codes.server_error:
        seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
        error = SourceLimited if status == requests.codes.too_many_requests else SourceUnavailable
        raise error(f"status {status}", None if seconds is None else min(seconds, MAX_RETRY_AFTER_S))
    raise SourceRefused(f"status {status}: is VIGIE_SOURCE_URL right?")


def records(body: bytes, cursor: Cursor) -> list[bytes]:
    """
    Take the cursor's page apart into its records, unread.

    Raises:
        SourceUnavailable: the body is not JSON, is the API's error, or is not the page that was asked for.
    """
    try:
        page = _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceUnavailable(f"not a page of users: {error}") from error
    if page.error is not None:
        raise SourceUnavailable("the source says that something has gone wrong")
    if page.results is None or page.info is None:
        raise SourceUnavailable("not a page of users: no `results` or no `info`")
    if (page.info.seed, page.info.page) != (cursor.seed, cursor.page):
        raise SourceUnavailable(f"asked for page {cursor.page}, got page {page.info.page} or another seed")
    if len(page.results) != cursor.page_size:
        raise SourceUnavailable(
            f"asked for {cursor.page_size} users, got {len(page.results)}: if the source never sends so many, "
            "lower VIGIE_PAGE_SIZE"
        )
    return [bytes(record) for record in page.results]
