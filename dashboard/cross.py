"""
Users counted alike in every dimension, as values: any two dimensions of them against each other, under any filter.

Nothing here reads a store: what comes in are the rows of the contract's CROSS, what goes out are sums of them.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from spark.contract import BETWEEN, CROSSED

Cell = tuple[str, ...]  # one value a dimension, in the order of CROSSED


class Tally(NamedTuple):
    """How many users, and the sum of their ages in years."""

    users: int
    ages: int

    def plus(self, other: "Tally") -> "Tally":
        return Tally(self.users + other.users, self.ages + other.ages)


NOBODY = Tally(0, 0)
Counts = Mapping[Cell, Tally]
Filters = Mapping[str, Collection[str]]  # dimension -> the values that count; an empty one, or none, is all


def parted(value: str) -> Cell:
    """A row's value as its parts: only the first of them, a country's name, may hold the sign between them."""
    return tuple(value.rsplit(BETWEEN, len(CROSSED) - 1))


def added(many: Iterable[Counts]) -> Counts:
    """The sums of several periods."""
    total: dict[Cell, Tally] = {}
    for counts in many:
        for cell, tally in counts.items():
            total[cell] = total.get(cell, NOBODY).plus(tally)
    return total


def picked(counts: Counts, filters: Filters) -> Counts:
    """Those whom every filter lets through."""
    wanted = [(CROSSED.index(name), frozenset(values)) for name, values in filters.items() if values]
    return {cell: tally for cell, tally in counts.items() if all(cell[n] in values for n, values in wanted)}


def by(counts: Counts, *dimensions: str) -> dict[Cell, Tally]:
    """The sums by these dimensions, in their order; the one sum under `()` by none."""
    places = [CROSSED.index(name) for name in dimensions]
    total: dict[Cell, Tally] = {}
    for cell, tally in counts.items():
        key = tuple(cell[n] for n in places)
        total[key] = total.get(key, NOBODY).plus(tally)
    return total


def whole(counts: Counts) -> Tally:
    """Everybody."""
    return by(counts).get((), NOBODY)
