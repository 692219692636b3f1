"""This process as Prometheus sees it: telemetry started once, browsers connected, pages' runs timed, reads counted."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

from streamlit import runtime

from observability import metrics, names, telemetry

SERVICE = "dashboard"
SESSIONS = "active_sessions"  # Streamlit's own name for the browsers that are connected

_starting, _started, _drawing = threading.Lock(), threading.Event(), threading.Lock()


def start(environ: Callable[[], Mapping[str, str]]) -> None:
    """
    Start telemetry, once however often this is called: scripts run again and again, caches are cleared; the environment
    is read once.

    Raises:
        WrongSetting: a port or the collector's address.
    """
    with _starting:
        if not _started.is_set():
            telemetry.start(SERVICE, environ())
            logging.getLogger("cassandra").setLevel(logging.CRITICAL)  # else a traceback at every attempt
            metrics.read_at_scrape(viewers)
            _started.set()


def viewers() -> Iterator[metrics.Sample]:
    """How many browsers are connected; 0 while Streamlit has not started."""
    n = 0.0
    if runtime.exists():
        stats = runtime.get_instance().stats_mgr.get_stats([SESSIONS]).get(SESSIONS, ())
        n = sum(float(getattr(stat, "value", 0)) for stat in stats)
    yield names.PAGE_VIEWERS, {}, n


@contextmanager
def turn() -> Iterator[None]:
    """One script draws at a time: Python runs no two at once, and one after the other each waits half as long."""
    with _drawing:
        yield


@contextmanager
def run_of(page: str) -> Iterator[None]:
    """Time a page's run; one that was broken off (the viewer went on) is not counted."""
    began = perf_counter()
    yield
    metrics.histogram(names.PAGE_SECONDS).labels(page).observe(perf_counter() - began)


def count_read(source: str, *, down: bool) -> None:
    """Count one question to what a page shows, and whether it was answered."""
    metrics.counter(names.PAGE_READS).labels(source, "down" if down else "ok").inc()
