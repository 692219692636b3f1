"""
Small pieces of PromQL, each written once. A `where` is what stands between the braces of a selector.

Counters of errors appear with the first error only: `or_zero` says 0 until then. Grafana's own variables are in the
expressions; `concrete` gives what can be asked of Prometheus itself.
"""

import re

from observability.names import Metric

RATE = "$__rate_interval"
CONCRETE = {
    "$__rate_interval": "1m",
    "$__range": "30m",
    "$lane": ".+",
    "$topic": ".+",
    "$group": ".+",
    "$broker": ".+",
    "$store": ".+",
    "$job": ".+",
}
Named = Metric | str


def concrete(expr: str) -> str:
    """The expression with a value for each of Grafana's variables; one that is not known raises KeyError."""
    return re.sub(r"\$\w+", lambda found: CONCRETE[found.group()], expr)


def of(metric: Named, where: str = "") -> str:
    """The metric's samples now."""
    name = metric.name if isinstance(metric, Metric) else metric
    return f"{name}{{{where}}}" if where else name


def gathered(how: str, expr: str, by: str = "") -> str:
    """One value for all series (`sum`, `max`), or one for each value of the labels in `by`."""
    return f"{how} by ({by}) ({expr})" if by else f"{how}({expr})"


def total(metric: Named, by: str = "", where: str = "") -> str:
    return gathered("sum", of(metric, where), by)


def highest(metric: Named, by: str = "", where: str = "") -> str:
    return gathered("max", of(metric, where), by)


def rate(metric: Named, by: str = "", where: str = "") -> str:
    """By how much a counter grows in a second."""
    return gathered("sum", f"rate({of(metric, where)}[{RATE}])", by)


def grown(metric: Named, by: str = "", where: str = "", over: str = "$__range") -> str:
    """By how much a counter has grown in the time shown."""
    return gathered("sum", f"increase({of(metric, where)}[{over}])", by)


def buckets(metric: Metric, where: str = "") -> str:
    """A histogram's buckets, for a heatmap."""
    return rate(f"{metric.name}_bucket", "le", where)


def quantile(share: float, metric: Named, by: str = "", where: str = "") -> str:
    """The duration that this share of a histogram's observations stays below."""
    name = metric.name if isinstance(metric, Metric) else metric
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(f'{name}_bucket', labels, where)})"


def or_zero(expr: str, label: str = "") -> str:
    """The expression, or 0 where it has nothing: with `label`, a series that says `none` there."""
    zero = f'label_replace(vector(0), "{label}", "none", "", "")' if label else "vector(0)"
    return f"{expr} or on() {zero}"


def age(metric: Named, by: str = "", where: str = "") -> str:
    """Seconds since a timestamp; of several, since the newest."""
    return f"time() - {highest(metric, by, where)}"
