"""
This process's metrics, by the names of `observability.names`, served for Prometheus as OpenMetrics with exemplars.

Counting never fails and never waits; a port that cannot be opened is told in the log, and the work goes on.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version

from dotenv import dotenv_values
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from observability import names
from observability.logs import Log
from observability.names import COUNTER, Metric
from observability.settings import ROOT

log = Log(__name__)

REGISTRY = CollectorRegistry()
disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each counter, which nobody asks for
Sample = tuple[Metric, Mapping[str, str], float]  # a metric, the values of its labels, its value


@cache
def counter(metric: Metric) -> Counter:
    """This process's counter of that name."""
    return Counter(metric.name, metric.help, tuple(metric.labels), registry=REGISTRY)


@cache
def gauge(metric: Metric) -> Gauge:
    """This process's gauge of that name."""
    return Gauge(metric.name, metric.help, tuple(metric.labels), registry=REGISTRY)


@cache
def histogram(metric: Metric) -> Histogram:
    """This process's histogram of that name; `observe(seconds, tracing.exemplar(span))` leads to a trace."""
    return Histogram(metric.name, metric.help, tuple(metric.labels), registry=REGISTRY, buckets=metric.buckets)


class Read(Collector):
    """Metrics whose values are read anew at every scrape; a reading that fails leaves them out of that scrape."""

    def __init__(self, read: Callable[[], Iterable[Sample]]) -> None:
        self._read = read

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        families: dict[Metric, CounterMetricFamily | GaugeMetricFamily] = {}
        try:
            for metric, labels, value in self._read():
                if metric not in families:
                    family = CounterMetricFamily if metric.kind == COUNTER else GaugeMetricFamily
                    families[metric] = family(metric.name, metric.help, labels=tuple(metric.labels))
                families[metric].add_metric([labels[name] for name in metric.labels], value)
        except Exception as error:  # noqa: BLE001 whatever it is, a scrape must not fail for it
            log.warning("metrics could not be read", reason=f"{type(error).__name__}: {error}")
        yield from families.values()


def read_at_scrape(read: Callable[[], Iterable[Sample]]) -> None:
    """Let `read` give the values of some metrics whenever Prometheus asks; it must be quick."""
    REGISTRY.register(Read(read))


def serve(service: str, host: str, port: int, env: Mapping[str, str]) -> None:
    """Serve this process's metrics at http://host:port/metrics; port 0 means not at all."""
    told = {"service": service, "version": version("vigie"), "settings": settings_hash(env)}
    gauge(names.BUILD_INFO).labels(**told).set(1)
    if not port:
        return
    try:
        start_http_server(port, host, REGISTRY)
    except OSError as error:
        log.error("no metrics: the port cannot be opened", port=port, reason=str(error))
    else:
        ProcessCollector(registry=REGISTRY)


def settings_hash(env: Mapping[str, str]) -> str:
    """Twelve hex digits that are the same for processes with the same settings, wherever they run."""
    known = sorted(key for key in dotenv_values(env.get("VIGIE_ENV_FILE", ROOT / ".env")) if key != "VIGIE_STATE")
    return hashlib.sha256("\n".join(f"{key}={env.get(key, '')}" for key in known).encode()).hexdigest()[:12]
