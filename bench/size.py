"""How much is measured: the whole bench, or a short form that only shows that everything measures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Users, rounds and seconds. `slow_s` is all that a peer gets of a drain; `backlog` is a round's."""

    rounds: int
    warm: int
    backlog: int
    messages: int  # for the limits of parts
    slow_s: float
    rates: tuple[int, ...]  # users/s
    settle_s: float
    watch_s: float
    backlogs: tuple[int, ...]
    stored: tuple[int, ...]
    partitions: tuple[int, ...]
    values: tuple[int, ...]  # so many times as many countries
    days: tuple[int, ...]  # of totals in Cassandra
    batches: tuple[int, ...]  # in the lanes' checkpoints
    summed: int  # users in Cassandra's sums under the page
    viewers: int
    viewed_s: float
    viewed_long_s: float


WHOLE = Size(
    rounds=3,
    warm=10_000,
    backlog=12_000,
    messages=12_000,
    slow_s=30,
    rates=(10, 66, 300, 1000),
    settle_s=8,
    watch_s=25,
    backlogs=(10_000, 50_000, 200_000),
    stored=(10_000, 100_000, 1_000_000),
    partitions=(3, 6, 12, 24),
    values=(1, 10),
    days=(1, 30, 365),
    batches=(10, 150),
    summed=1_000_000,
    viewers=20,
    viewed_s=40,
    viewed_long_s=600,
)
SHORT = Size(
    rounds=1,
    warm=400,
    backlog=1000,
    messages=1000,
    slow_s=15,
    rates=(50,),
    settle_s=2,
    watch_s=8,
    backlogs=(500, 1000),
    stored=(1000, 3000),
    partitions=(3, 6),
    values=(1, 10),
    days=(1, 3),
    batches=(2,),
    summed=3000,
    viewers=3,
    viewed_s=8,
    viewed_long_s=8,
)
