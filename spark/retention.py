"""
Users are removed from MongoDB by whole UTC days of their `appended_at`, once a day, where a retention is set.

One delete by time does it on a mongod (indexed) and on the embedded server (which has no TTL index and scans).
"""

import threading
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from observability import access, retry
from observability.logs import Log
from spark.contract import DATABASE, FORGOTTEN_AT, USERS

log = Log(__name__)

LOOK_EVERY_S = 60
LONGEST_S = 900  # the embedded server reads some three thousand users a second


def forget(store: access.Mongo, before: date) -> int:
    """
    Remove the users that were appended before that day (UTC), not those forgotten, which has no end; return how many.

    Raises:
        PyMongoError: MongoDB is down or late; the same call may be made again.
    """
    limit = datetime.combine(before, time(), UTC)
    with MongoClient[dict[str, Any]](**store.mongo(LONGEST_S)) as client:
        gone = {"appended_at": {"$lt": limit}, FORGOTTEN_AT: {"$exists": False}}
        return client[DATABASE][USERS].delete_many(gone).deleted_count


def keep(store: access.Mongo, days: int, stopping: threading.Event) -> None:
    """Until `stopping`: keep the users of the last `days` days, and of today; 0 keeps all."""
    waiting = retry.policy("removing users", PyMongoError, longest_s=LOOK_EVERY_S, stopping=stopping)
    done: date | None = None
    while days and not stopping.is_set():
        today = datetime.now(UTC).date()
        if today != done:
            before = today - timedelta(days=days)
            try:
                log.info("old users removed", before=before, users=waiting(forget, store, before))
            except PyMongoError:  # only when stopping
                return
            done = today
        stopping.wait(LOOK_EVERY_S)
