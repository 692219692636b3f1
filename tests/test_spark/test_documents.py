"""What MongoDB answers to a batch, and what the raw lane makes of it."""

from datetime import UTC, datetime

import pytest
from pymongo.errors import BulkWriteError

from spark import documents
from spark.documents import StoreRefused


class Answering(dict):
    """A database that we own: every insert ends with these details."""

    def __init__(self, details: dict) -> None:
        super().__init__()
        self.details = details

    def __missing__(self, name: str) -> "Answering":
        return self

    def insert_many(self, *_: object, **__: object) -> None:
        raise BulkWriteError(self.details)


def details(errors: list, concerns: list) -> dict:
    return {"writeErrors": errors, "writeConcernErrors": concerns, "nInserted": 0}


def test_users_that_are_there_are_told_by_their_index():
    answer = Answering(details([{"index": 1, "code": 11000}], []))
    assert documents.insert(answer, [{"_id": n, "at": datetime.now(UTC)} for n in range(3)]) == {1}


class Remembering(dict):
    """A database that we own: it takes every other user for known, and remembers how many came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __missing__(self, name: str) -> "Remembering":
        return self

    def insert_many(self, users: list, **_: object) -> None:
        self.sizes.append(len(users))
        raise BulkWriteError(details([{"index": n, "code": 11000} for n in range(0, len(users), 2)], []))


def test_a_backlog_is_inserted_in_parts_and_known_users_keep_their_index():
    database = Remembering()
    there = documents.insert(database, [{"_id": n} for n in range(1201)])
    assert max(database.sizes) == documents.AT_ONCE
    assert sum(database.sizes) == 1201
    assert there == set(range(0, 1201, 2))


@pytest.mark.parametrize("errors", [[{"index": 0, "code": 91}], []])
def test_what_is_not_surely_kept_is_written_again(errors):
    concerns = [] if errors else [{"code": 91, "errmsg": "ShutdownInProgress"}]
    with pytest.raises(StoreRefused):
        documents.insert(Answering(details(errors, concerns)), [{"_id": 0}])
