"""What several readers cost the brokers, and a partition that nobody leads.."""

from collections.abc import Collection
from typing import Any

from kafka import TopicPartition

from observability import lag
from observability.lag import Behind, Kept

FIRST, SECOND, THIRD = (TopicPartition("users.raw", n) for n in range(3))


class Brokers:
    """Three partitions of ten records, of which the first four are gone; what is asked of them is kept."""

    def __init__(self, *leaderless: TopicPartition) -> None:
        self.leaderless = leaderless
        self.fetched: list[tuple[TopicPartition, int]] = []

    def beginning_offsets(self, places: Collection[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 4)

    def end_offsets(self, places: Collection[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        for tp in places:
            if tp in self.leaderless:
                raise KeyError(tp)  # as kafka-python 3.0.12 does
        return dict.fromkeys(places, 10)

    def appended(self, _: object, places: dict[TopicPartition, int], patience_s: float) -> dict[TopicPartition, float]:
        self.fetched += places.items()
        return {tp: 1000.0 + at for tp, at in places.items()}


def test_a_place_where_two_readers_are_is_fetched_once(monkeypatch):
    brokers: Any = Brokers()
    monkeypatch.setattr(lag, "_appended", brokers.appended)
    positions = {"a": {FIRST: 0, SECOND: 10, THIRD: 12}, "b": {FIRST: 4, SECOND: 6, THIRD: 9}}
    found = lag.behind(brokers, positions, lag.kept(brokers, [FIRST, SECOND, THIRD], 1), 1)
    assert found["a"] == {FIRST: Behind(6, 1004.0), SECOND: Behind(0, None), THIRD: Behind(0, None)}
    assert found["b"] == {FIRST: Behind(6, 1004.0), SECOND: Behind(4, 1006.0), THIRD: Behind(1, 1009.0)}
    assert sorted(brokers.fetched) == [(FIRST, 4), (SECOND, 6), (THIRD, 9)]


def test_partitions_that_nobody_leads_are_left_out_and_the_others_are_told():
    brokers: Any = Brokers(FIRST, THIRD)
    assert lag.kept(brokers, [FIRST, SECOND, THIRD], 1) == Kept({SECOND: 4}, {SECOND: 10})
