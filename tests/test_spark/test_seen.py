"""An executor's Python leaves to the garbage collector only what its tasks make."""

from collections import Counter

import pytest

from spark import seen
from spark.contract import RAW, STATS


def test_what_either_lane_loads_is_frozen_whichever_ran_first(monkeypatch: pytest.MonkeyPatch):
    """A lane whose store is down begins no task until it is back, while the other's go on."""
    frozen: list[str] = []
    monkeypatch.setattr(seen, "_tasks", Counter())
    for lane in (STATS, RAW):
        monkeypatch.setattr("gc.freeze", lambda lane=lane: frozen.append(lane))
        for _ in range(2 * seen.SETTLING):
            seen.settled(lane)
    assert frozen == [STATS] * seen.SETTLING + [RAW] * seen.SETTLING
