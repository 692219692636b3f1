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


@pytest.mark.parametrize("errors", [[{"index": 0, "code": 91}], []])
def test_what_is_not_surely_kept_is_written_again(errors):
    concerns = [] if errors else [{"code": 91, "errmsg": "ShutdownInProgress"}]
    with pytest.raises(StoreRefused):
        documents.insert(Answering(details(errors, concerns)), [{"_id": 0}])
