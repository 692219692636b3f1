"""
The documents of MongoDB as the raw lane writes them: users by their id, the newest of them, the canary, the ledger.

    StoreRefused    the store takes some documents not, for another reason than that it has them

Every write can be done twice. The embedded server has an index for one `_id` and for nothing else: every other question
to `users` reads all of them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import bson
import msgspec
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError

from observability import access
from services.contract import UserEvent
from spark.contract import CANARIES, DATABASE, LEDGER, NEWEST, NEWEST_ID, NEWEST_USERS, RAW, USERS, Counted, Ledger
from spark.seen import Canary

DUPLICATE_KEY = 11000
AT_ONCE = 500  # users of one insert: a tenth of a second for the embedded server
Document = dict[str, Any]


class StoreRefused(PyMongoError):
    """MongoDB refused some of a batch for another reason than that it has them; the text holds codes, never data."""


def document(event: UserEvent, partition: int, offset: int, appended_at: datetime, trace_id: str = "") -> Document:
    """The document of a user as it is stored: the event, its place on users.raw, its trace, when it passed where."""
    fields = msgspec.to_builtins(event, builtin_types=(datetime,))
    return {
        "_id": fields.pop("user_id"),
        **fields,
        "appended_at": appended_at,
        "stored_at": datetime.now(UTC),
        "topic": {"partition": partition, "offset": offset},
        "trace_id": trace_id,
    }


def insert(database: Database[Document], users: Sequence[Document]) -> set[int]:
    """
    Insert the users that are not there; return which of `users` were (their indexes).

    AT_ONCE a time: the backlog of an outage would else be one question, and a busy store late with its one answer.

    Raises:
        PyMongoError: the store is down or refuses; what it took of the batch stays; the call may be made again.
    """
    there: set[int] = set()
    for start in range(0, len(users), AT_ONCE):
        there |= {start + index for index in _insert(database, users[start : start + AT_ONCE])}
    return there


def _insert(database: Database[Document], users: Sequence[Document]) -> set[int]:
    now = datetime.now(UTC)
    raw = [RawBSONDocument(bson.encode({**user, "stored_at": now})) for user in users]
    try:
        database[USERS].insert_many(raw, ordered=False)
    except BulkWriteError as error:
        errors = error.details["writeErrors"]
        if error.details["writeConcernErrors"]:  # taken, but not yet kept: a failover may undo it
            raise StoreRefused(f"write concern not met: {len(error.details['writeConcernErrors'])} errors") from None
        codes = {one["code"] for one in errors}
        if codes - {DUPLICATE_KEY}:
            raise StoreRefused(f"write errors with codes {sorted(codes)}") from None
        return {one["index"] for one in errors}
    return set()


def mistaken(database: Database[Document], known: Sequence[Document]) -> Counted:
    """
    What is wrong in counting the `known` as duplicates: those whose document is this very message's are users.

    One that is there already may have been written from this very message, by a batch that is written again or a topic
    that is read again. Asked one by one: the embedded server has an index for a single `_id`, and reads all for two.

    Raises:
        PyMongoError: the store is down or late; the same call may be made again.
    """
    users = 0
    for one in known:
        found = database[USERS].find_one({"_id": one["_id"]}, {"topic": 1})
        users += found is not None and found["topic"] == one["topic"]
    return Counted(users=users, duplicates=-users)


def keep_canary(database: Database[Document], canary: Canary | None) -> int:
    """Keep the canary if it is the newest; return how many documents were written."""
    place = database[CANARIES]
    known = place.find_one({"_id": NEWEST_ID}) if canary else None
    if canary is None or (known and known["fetched_at"] >= canary.fetched_at):
        return 0
    place.replace_one(
        {"_id": NEWEST_ID},
        {"_id": NEWEST_ID, **msgspec.structs.asdict(canary), "stored_at": datetime.now(UTC)},
        upsert=True,
    )
    return 1


def read_ledger(database: Database[Document]) -> Ledger | None:
    """The lane's ledger; None before its first batch."""
    found = database[LEDGER].find_one({"_id": RAW})
    return msgspec.json.decode(found["body"], type=Ledger) if found else None


def keep_ledger(database: Database[Document], whole: Ledger) -> None:
    database[LEDGER].replace_one({"_id": RAW}, {"_id": RAW, "body": msgspec.json.encode(whole).decode()}, upsert=True)


def show_newest(database: Database[Document], users: Sequence[Document]) -> None:
    """
    Keep the last NEWEST users of a partition in one small document, so that a page need not search for them.

    Only those that were just inserted: one that the store had may be one that it has forgotten.
    """
    if not users:
        return
    partition = users[-1]["topic"]["partition"]
    place = database[NEWEST_USERS]
    known = (place.find_one({"_id": partition}) or {"users": []})["users"]
    shown = {one["user_id"]: one for one in known} | {user["_id"]: newest(user) for user in users[-NEWEST:]}
    place.replace_one({"_id": partition}, {"_id": partition, "users": list(shown.values())[-NEWEST:]}, upsert=True)


def newest(user: Document) -> Document:
    """What a page may know of a user that has just arrived; who says that he was fetched tomorrow is as new as now."""
    return {
        "user_id": user["_id"],
        "first": user["name"]["first"],
        "last": user["name"]["last"],
        "country": user["location"]["country"],
        "gender": user["gender"],
        "age": user["dob"]["age"],
        "fetched_at": min(user["fetched_at"], user["appended_at"]),
        "stored_at": user["stored_at"],
    }


@lru_cache(maxsize=4)
def connected(store: access.Mongo) -> Database[Document]:
    """One client for each executor process: a connection for every batch would cost as much as its inserts."""
    client: MongoClient[Document] = MongoClient(
        **store.mongo(5),
        retryWrites=False,
        w="majority",
        journal=True,  # a document that was acknowledged outlives a kill -9
        tz_aware=True,
    )
    return client[DATABASE]
