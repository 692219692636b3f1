"""
How long users take from their fetch to each store at a steady rate, and how much of a processor each program takes.

The lanes' own histogram is asked, as Prometheus would, at the begin and at the end of the time.
"""

import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from statistics import mean

import psutil

from bench.notebook import Notebook
from bench.readers import SINKS, WARM_S, Reader, warm
from bench.result import OURS
from bench.system import NotUp, System, cost, until
from observability import names
from spark.contract import RAW, STATS

QUANTILES = (0.5, 0.95, 0.99)
SECONDS, CORES, RATE = "s", "cores", "users/s"
LOOKS = 8
LARGEST = 500  # users of a page; the API sends 5,000 at most
STORES = {RAW: "MongoDB", STATS: "Cassandra"}
Buckets = Mapping[float, float]  # upper bound -> how many are not above it


def measure(of: System, book: Notebook) -> None:
    """Latency and processors at each rate, with all watchers."""
    with warm(of, book.size.warm) as lanes:
        lanes.send(signal.SIGCONT)
        for rate in book.size.rates:
            at_rate(of, book, rate, lanes)
            if not lanes.read_all(WARM_S):
                raise NotUp(f"the lanes are not at the end {WARM_S} s after {rate} users/s: {lanes.done()}")


def at_rate(of: System, book: Notebook, rate: int, lanes: Reader) -> None:
    case, size = f"{rate} users/s", book.size
    page = max(1, min(LARGEST, rate // 2))  # two calls a second, as little as the source's own steps add
    with ExitStack() as stack:
        ingestion = stack.enter_context(
            of.ingesting(VIGIE_PAGES="0", VIGIE_RATE=str(rate), VIGIE_PAGE_SIZE=str(page), VIGIE_SEED=f"rate-{rate}")
        )
        before = asked(of)
        until(lambda: grew(before, asked(of), 1), WARM_S, f"users at {case}")
        time.sleep(size.settle_s)  # not a condition that is waited for: the time that the rate has to be steady
        first, sent, sent_at = asked(of), of.acknowledged(), time.monotonic()
        began, used = time.monotonic(), costs(of, ingestion, lanes.process.pid)
        book.note(OURS, "unread at the begin", unread(lanes, size.watch_s / 5), "users", case=case)
        time.sleep(size.watch_s * 3 / 5)
        book.note(OURS, "unread at the end", unread(lanes, size.watch_s / 5), "users", case=case)
        last, seconds, now = asked(of), time.monotonic() - began, costs(of, ingestion, lanes.process.pid)
        came = (of.acknowledged() - sent) / (time.monotonic() - sent_at)
        book.note(OURS, "came into the topic", came, RATE, case=case)
    for lane in SINKS:
        there = {bound: n - first[lane].get(bound, 0) for bound, n in last[lane].items()}
        book.note(STORES[lane], "users seen", max(there.values(), default=0) / seconds, RATE, case=case)
        for q in QUANTILES if max(there.values(), default=0) else ():
            book.note(STORES[lane], f"p{q * 100:.0f}", quantile(there, q), SECONDS, case=case)
    for name, cpu_s in now.items():
        book.note(name, "processors", (cpu_s - used.get(name, 0.0)) / seconds, CORES, case=case)
    book.note("all", "processors", (sum(now.values()) - sum(used.values())) / seconds, CORES, case=case)


def unread(lanes: Reader, seconds: float) -> float:
    """How many users the lane that is further behind has not told of, as a mean: at one moment it may be mid-batch."""
    found = []
    for _ in range(LOOKS):
        found.append(lanes.left())
        time.sleep(seconds / LOOKS)
    return mean(found)


def costs(of: System, ingestion: psutil.Popen, lanes: int) -> dict[str, float]:
    """Processor seconds by program up to now."""
    found = {name: one.cpu_s for name, one in of.costs().items()}
    return found | {"ingest": cost(ingestion.pid).cpu_s, "spark": cost(lanes).cpu_s}


def asked(of: System) -> dict[str, Buckets]:
    """The lanes' histograms as they are now."""
    found: dict[str, dict[float, float]] = {lane: {} for lane in SINKS}
    for family in of.metrics("SPARK"):
        if family.name == names.END_TO_END.name:
            for one in family.samples:
                if one.name.endswith("_bucket"):
                    found[one.labels["lane"]][float(one.labels["le"])] = one.value
    return dict(found)


def grew(before: Mapping[str, Buckets], now: Mapping[str, Buckets], by: int) -> bool:
    """Whether both lanes have so many more."""
    return all(max(now[lane].values(), default=0) >= max(before[lane].values(), default=0) + by for lane in SINKS)


def quantile(buckets: Buckets, q: float) -> float:
    """The value that the share `q` is not above, within its bucket by proportion, as PromQL's `histogram_quantile`."""
    bounds: Sequence[float] = sorted(buckets)
    wanted, low, below = q * buckets[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted and buckets[bound] > below:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (wanted - below) / (buckets[bound] - below)
        low, below = bound, buckets[bound]
    return low
