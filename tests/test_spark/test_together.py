"""Rows of one partition are written together; every row is in exactly one write."""

from collections import Counter
from dataclasses import dataclass

import pytest
from cassandra.query import BatchStatement

from spark import stats


@dataclass(frozen=True)
class Statement:
    """What is asked of a prepared statement before it is bound: its id, and which values are its partition's key."""

    query_id: bytes
    routing_key_indexes: tuple[int, ...] | None


MINUTES, LEDGER = Statement(b"minutes", (0, 1)), Statement(b"ledger", (0,))


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    """The rows of each batch: a real prepared statement can only be bound after a server has prepared it."""
    found: dict[int, list] = {}
    monkeypatch.setattr(BatchStatement, "add", lambda self, *write: found.setdefault(id(self), []).append(write))
    return found


def all_rows(made, rows):
    return [row for one, values in made for row in (rows[id(one)] if values is None else [(one, values)])]


def test_the_rows_of_a_partition_are_one_write(rows):
    writes = [(MINUTES, ("country", "day", minute)) for minute in range(20)]
    made = stats.together(writes)
    assert [values for _, values in made] == [None]
    assert rows[id(made[0][0])] == writes


def test_a_row_alone_is_no_batch():
    writes = [(MINUTES, ("country", "day", 1)), (MINUTES, ("gender", "day", 1)), (LEDGER, ("stats", "{}"))]
    assert stats.together(writes) == writes


def test_no_row_is_lost_or_doubled_and_no_batch_has_two_partitions_or_too_many_rows(rows):
    writes = [(MINUTES, (f"dimension {n % 3}", "day", n)) for n in range(400)] + [(LEDGER, ("stats", "{}"))]
    made = stats.together(writes)
    assert Counter(all_rows(made, rows)) == Counter(writes)
    assert all(len({values[:2] for _, values in some}) == 1 for some in rows.values())
    assert max(map(len, rows.values())) <= stats.AT_ONCE
