"""The one retry policy: jittered exponential backoff, each attempt logged and counted, an end by number or stop."""

import threading
import time

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_never
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_base, stop_when_event_set
from tenacity.wait import wait_base, wait_random_exponential

from observability import metrics, names
from observability.logs import Log

log = Log(__name__)


class AtLeast(wait_base):
    """Wait as the inner policy says, but not less than the error's own `retry_after` (seconds), where it has one."""

    def __init__(self, inner: wait_base) -> None:
        self.inner = inner

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        return max(self.inner(retry_state), float(getattr(error, "retry_after", None) or 0))


def policy(
    what: str,
    on: type[BaseException] | tuple[type[BaseException], ...],
    *,
    attempts: int | None = None,
    longest_s: float = 5.0,
    stopping: threading.Event | None = None,
) -> Retrying:
    """
    Return a tenacity policy that calls again on the errors `on`, waiting up to `longest_s` seconds between attempts.

    Without `attempts` it goes on for ever (a store that is down is waited for); `stopping` ends it and its waiting at
    once. The last error is raised as it was.
    """
    metrics.counter(names.RETRIES).labels(what)  # there from now on, at 0
    stop: stop_base = stop_never if attempts is None else stop_after_attempt(attempts)
    if stopping is not None:
        stop = stop | stop_when_event_set(stopping)
    return Retrying(
        sleep=time.sleep if stopping is None else sleep_using_event(stopping),
        retry=retry_if_exception_type(on),
        wait=AtLeast(wait_random_exponential(multiplier=0.2, max=longest_s)),
        stop=stop,
        before_sleep=lambda state: _say(what, state),
        reraise=True,
    )


def _say(what: str, state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    metrics.counter(names.RETRIES).labels(what).inc()
    log.warning(
        "trying again",
        what=what,
        attempt=state.attempt_number,
        wait_s=round(state.upcoming_sleep, 2),
        reason=f"{type(error).__name__}: {str(error)[:300]}",
    )
