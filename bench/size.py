"""How much is measured: the whole bench, what grows at length, or a short form, which shows that all measures."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Size:
    """
    Users, rounds and seconds. `backlog` is a round's, `little` that of a round where there are many; `turns` are the
    rounds in which each reader is started anew; `slow_s` is all that row by row gets of a drain.
    """

    rounds: int
    turns: int
    warm: int
    backlog: int
    little: int
    messages: int  # for the limits of parts
    slow_s: float
    rates: tuple[int, ...]  # users/s
    settle_s: float
    watch_s: float
    rest_s: float  # as many scrapes of the slowest target in each
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
    apart: bool = True  # what must have a new system for itself gets it


WHOLE = Size(
    rounds=3,
    turns=1,
    warm=12_000,
    backlog=24_000,
    little=12_000,
    messages=24_000,
    slow_s=60,
    rates=(10, 66, 300, 1000, 1500),
    settle_s=4,
    watch_s=20,
    rest_s=15,
    backlogs=(10_000, 50_000),
    stored=(10_000, 100_000),
    partitions=(3, 12),
    values=(1, 10),
    days=(),
    batches=(),
    summed=1_000_000,
    viewers=20,
    viewed_s=30,
    viewed_long_s=600,
)
LONG = replace(
    WHOLE,
    backlog=200_000,
    backlogs=(10_000, 50_000, 200_000),
    stored=(10_000, 100_000, 1_000_000),
    partitions=(3, 6, 12, 24),
    days=(1, 30, 365),
    batches=(5, 120, 600),
)
SHORT = Size(
    rounds=1,
    turns=1,
    warm=400,
    backlog=1000,
    little=1000,
    messages=1000,
    slow_s=25,
    rates=(50,),
    settle_s=2,
    watch_s=8,
    rest_s=5,
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
    apart=False,
)
