"""A run against an earlier one: each figure that both have, and whether it is faster, slower, or noise."""

from dataclasses import dataclass

from bench import figures
from bench.figures import Ratio
from bench.result import MORE_IS_BETTER, Result, Sample, values

LEAST = 3  # samples of each run
BETWEEN_RUNS = 0.10  # what the machine alone may do from one run to the next, which the samples of one do not show


@dataclass(frozen=True)
class Line:
    """One figure of both runs: how many times the earlier one it is now."""

    what: str
    case: str
    subject: str
    metric: str
    unit: str
    before: float
    now: float
    ratio: Ratio | None
    verdict: str


def compared(now: Result, before: Result) -> list[Line]:
    """Every figure that both runs have, in the order of the newer one."""
    new, old = values(now.samples), values(before.samples)
    return [line(new[key], old[key]) for key in new if key in old]


def line(new: list[Sample], old: list[Sample]) -> Line:
    one = new[0]
    now, before = [sample.value for sample in new], [sample.value for sample in old]
    ratio = figures.ratio(now, before)
    enough = min(len(now), len(before)) >= LEAST
    said = figures.verdict(ratio if enough else None, more_is_better=one.unit in MORE_IS_BETTER, beyond=BETWEEN_RUNS)
    medians = figures.summary(before).median, figures.summary(now).median
    return Line(one.what, one.case, one.subject, one.metric, one.unit, *medians, ratio, said)


def differences(now: Result, before: Result) -> list[str]:
    """What else than the code differs between the runs: machine, versions, settings, form."""
    found = ["one of the runs is the short form"] if now.short != before.short else []
    for name in ("machine", "versions", "settings"):
        one, other = getattr(now, name), getattr(before, name)
        keys = sorted(key for key in one | other if one.get(key) != other.get(key))
        found += [f"{key}: {other.get(key, 'none')} → {one.get(key, 'none')}" for key in keys]
    return found
