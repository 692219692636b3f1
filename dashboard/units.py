"""Grafana's units, as far as our dashboards use them: a value's text, and by what an axis is divided."""

from math import isinf, log10

SUFFIX = "suffix:"
PERCENT = "percentunit"
RATES = {"cps": "/s", "reqps": " req/s", "wps": " writes/s"}
PLAIN = {"none", "short", "locale"}
THOUSANDS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
BINARY = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
TIMES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
NOTHING = "—"


def known(unit: str) -> bool:
    """Whether we can say a value in it."""
    return unit in {"s", "bytes", "Bps", PERCENT} | PLAIN | RATES.keys() or unit.startswith(SUFFIX)


def scale(unit: str, peak: float) -> tuple[float, str]:
    """By what values up to `peak` are divided for an axis, and what then stands behind each of them."""
    peak = abs(peak)
    if unit == PERCENT:
        return 0.01, " %"
    if unit == "s":
        return _step(TIMES, peak, (1.0, "s"))
    if unit in ("bytes", "Bps"):
        divisor, word = _step(BINARY, peak, (1.0, "B"))
        return divisor, word + ("/s" if unit == "Bps" else "")
    behind = RATES.get(unit, unit.removeprefix(SUFFIX) if unit.startswith(SUFFIX) else "")
    if unit in ("none", "locale"):
        return 1.0, ""
    divisor, word = next(((by, word) for by, word in THOUSANDS if peak >= 10 * by), (1.0, ""))
    return divisor, f" {word}{behind}" if word else behind


def _step(steps: tuple[tuple[float, str], ...], peak: float, otherwise: tuple[float, str]) -> tuple[float, str]:
    divisor, word = next(((by, word) for by, word in steps if peak >= by), otherwise)
    return divisor, f" {word}"


def text(unit: str, value: float | None) -> str:
    """A value as a person reads it; a dash for none."""
    if value is None:
        return NOTHING
    if isinf(value):
        return "∞" if value > 0 else "-∞"
    if unit == "none":
        return f"{value:.15g}" if value == int(value) else rounded(value)
    if unit == "locale":
        return f"{value:,.0f}"
    divisor, behind = scale(unit, value)
    return f"{rounded(value / divisor)}{behind}"


def rounded(value: float) -> str:
    """Three digits that count, thousands apart, no needless zeros."""
    if not value:
        return "0"
    digits = max(0, 2 - int(log10(abs(value)))) if abs(value) >= 1 else 3 - int(log10(abs(value)))
    shown = f"{value:,.{min(digits, 6)}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown
