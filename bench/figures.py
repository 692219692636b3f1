"""
What samples say: a middle, a spread, and how many times as much one is as another, with an interval.

Times and rates of a shared machine are skewed, so ratios are taken of logarithms (Student's t, by scipy); samples of
one run, which were taken in turn, are compared round by round, which takes the machine's slow moments out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
FASTER, SLOWER, NOISE = "faster", "slower", "noise"


@dataclass(frozen=True)
class Summary:
    """Some samples of one thing."""

    n: int
    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Ratio:
    """How many times as much; the true ratio lies between `low` and `high` in 19 of 20 cases."""

    middle: float
    low: float
    high: float


def summary(values: Sequence[float]) -> Summary:
    return Summary(len(values), float(np.median(values)), min(values), max(values))


def ratio(new: Sequence[float], old: Sequence[float], *, paired: bool = False) -> Ratio | None:
    """
    `new` over `old`; None of fewer than two samples of each, or of one that is not above 0.

    `paired`: both have a sample of each round, in the same order.
    """
    if min(len(new), len(old)) < 2 or min(*new, *old) <= 0:
        return None
    one, other = np.log(new), np.log(old)
    middle = float(np.exp(one.mean() - other.mean()))
    if paired and len(new) == len(old):
        found: Any = None if np.ptp(one - other) == 0 else stats.ttest_1samp(one - other, 0)
    else:
        found = None if np.ptp(one) + np.ptp(other) == 0 else stats.ttest_ind(one, other, equal_var=False)
    if found is None:  # not a bit of spread: counts, and made-up figures
        return Ratio(middle, middle, middle)
    low, high = np.exp(found.confidence_interval(CONFIDENCE))
    return Ratio(middle, float(low), float(high))


def verdict(found: Ratio | None, *, more_is_better: bool, beyond: float = 0.0) -> str:
    """FASTER or SLOWER if the whole interval is on one side of 1, by more than this share, else NOISE."""
    if found is None or (found.low <= 1 + beyond and found.high >= 1 / (1 + beyond)):
        return NOISE
    return FASTER if (found.low > 1) == more_is_better else SLOWER
