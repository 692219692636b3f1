"""What samples say: ratios with intervals, and verdicts that noise does not move."""

import numpy as np
import pytest

from bench import figures
from bench.figures import FASTER, NOISE, SLOWER, Ratio


def test_a_ratio_has_its_middle_between_its_ends():
    found = figures.ratio([200, 210, 190], [100, 104, 96])
    assert found.low < found.middle < found.high
    assert found.middle == pytest.approx(2, rel=0.01)


def test_two_runs_of_the_same_are_told_apart_in_one_of_twenty_cases():
    draw = np.random.default_rng(7)
    told = [
        figures.verdict(figures.ratio(*draw.lognormal(7, 0.1, (2, 5)).tolist()), more_is_better=True)
        for _ in range(1000)
    ]
    assert 0.02 < 1 - told.count(NOISE) / 1000 < 0.08


def test_rounds_that_are_slow_for_both_do_not_hide_who_is_faster():
    slow = np.array([1.0, 0.3, 0.8, 0.5])
    new, old = (1100 * slow * [1, 1.01, 1, 0.99]).tolist(), (1000 * slow).tolist()
    assert figures.verdict(figures.ratio(new, old), more_is_better=True) == NOISE
    assert figures.verdict(figures.ratio(new, old, paired=True), more_is_better=True) == FASTER


def test_one_sample_says_nothing():
    assert figures.ratio([2.0], [1.0, 1.1]) is None
    assert figures.verdict(None, more_is_better=True) == NOISE


def test_nothing_and_less_have_no_ratio():
    assert figures.ratio([0.0, 1.0], [1.0, 1.0]) is None


def test_samples_without_spread_have_an_exact_ratio():
    assert figures.ratio([4, 4], [2, 2]) == figures.ratio([4, 4], [2, 2], paired=True)
    assert figures.ratio([4, 4], [2, 2]).low == pytest.approx(2)


@pytest.mark.parametrize(("more_is_better", "said"), [(True, FASTER), (False, SLOWER)])
def test_more_is_faster_only_where_more_is_better(more_is_better, said):
    assert figures.verdict(Ratio(1.5, 1.2, 1.8), more_is_better=more_is_better) == said


def test_an_interval_around_one_is_noise():
    assert figures.verdict(Ratio(1.2, 0.9, 1.6), more_is_better=True) == NOISE
