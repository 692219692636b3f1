"""
Forget one person: `make forget USER=<uuid>`. It may be done twice, and while everything runs.

MongoDB keeps of the person the id, in place of the document: the store itself then refuses the user, so that no message
that is read again, no replayed dead letter and no page that is fetched again brings the person back. The id is random
and names nobody; its hash would be as good a name to whoever has the id, and would keep nobody out. Sums stay: they
hold nobody. When, and by whom, is written into the collection `forgotten`.

Kafka deletes no single message: users.raw and users.dlq hold the person until their retention ends.

Exit code 0: forgotten; 1: a part does not answer, so that the same command is to be given again.
"""

import argparse
import getpass
import platform
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from pymongo import WriteConcern
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError

from observability import logs, settings
from services import hops
from services.contract import DEAD_LETTERS, USERS, Uuid, held_hours
from services.outbox_file import forget as forget_rows
from services.outbox_file import outbox_path
from spark.contract import DATABASE, FORGOTTEN, FORGOTTEN_AT, NEWEST_USERS
from spark.contract import USERS as COLLECTION

SHOWN_S = 2.0  # in which a lane that had the user in hand has shown them; a longer one is found by `make audit`
SCAN_S = 600  # the embedded server reads some three thousand users a second


@dataclass(frozen=True)
class Settings(hops.Settings):
    """Where the hops are, and how long the topics keep what they have."""

    topic_hours: int = field(metadata={"key": "VIGIE_TOPIC_RETENTION_HOURS"})


def in_outbox(wanted: Settings, user_id: str) -> str:
    """
    Remove what waits for the brokers.

    Raises:
        sqlite3.Error: as `services.outbox.forget`.
    """
    path = outbox_path(wanted.state)
    if not path.exists():
        return "there is none here"
    n = forget_rows(path, user_id)
    kept = sorted(aside.name for aside in path.parent.glob(f"{path.name}.damaged-*"))
    return f"{n:,} rows removed" + (f"; not looked into, delete them: {', '.join(kept)}" if kept else "")


def in_mongo(wanted: Settings, user_id: str) -> str:
    """
    Put the id in place of the document, and write down that it was done.

    Raises:
        PyMongoError: MongoDB does not answer.
    """
    with hops.mongo(wanted, SCAN_S) as client:
        database = client.get_database(DATABASE, write_concern=WriteConcern("majority", j=True))
        document, said = emptied(database, user_id)
        done = {"at": document[FORGOTTEN_AT], "by": f"{getpass.getuser()} on {platform.node()}"}
        ahead = {"ahead": document["topic"] is None}
        database[FORGOTTEN].update_one({"_id": user_id}, {"$set": ahead, "$setOnInsert": done}, upsert=True)
        for wait_s in (0.0, SHOWN_S):
            time.sleep(wait_s)
            while database[NEWEST_USERS].count_documents({"users.user_id": user_id}):
                database[NEWEST_USERS].update_many({}, {"$pull": {"users": {"user_id": user_id}}})
        oplog = "setName" in client.admin.command("hello")
    return said + ("; the oplog has it until newer writes take its place" if oplog else "")


def emptied(database: Database[dict[str, Any]], user_id: str) -> tuple[dict[str, Any], str]:
    """The document that stands for the user from now on, and what was there; a lane may insert the user meanwhile."""
    users = database[COLLECTION]
    while True:
        found = users.find_one({"_id": user_id}, (FORGOTTEN_AT, "appended_at", "topic"))
        if found and FORGOTTEN_AT in found:
            return found, f"was forgotten before, at {found['forgotten_at']:%Y-%m-%d %H:%M} UTC"
        now = datetime.now(UTC)
        if found:
            kept = {**found, FORGOTTEN_AT: now}
            users.replace_one({"_id": user_id}, kept)
            return kept, "the document is removed, the id kept"
        kept = {"_id": user_id, FORGOTTEN_AT: now, "appended_at": now, "topic": None}
        try:
            users.insert_one(kept)
        except DuplicateKeyError:
            continue
        return kept, "had no document, and will have none"


PARTS: dict[str, Callable[[Settings, str], str]] = {"outbox": in_outbox, "MongoDB": in_mongo}


def forget(wanted: Settings, user_id: str) -> Iterator[tuple[str, str, bool]]:
    """Ask each part to forget the user; yield (part, what it said, whether it has)."""
    for part, ask in PARTS.items():
        try:
            yield part, ask(wanted, user_id), True
        except (sqlite3.Error, PyMongoError) as error:
            yield part, f"{type(error).__name__}: {str(error)[:200]}", False


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m services.forget", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("user", metavar="UUID", help="the user's id, login.uuid")
    given = parser.parse_args(argv).user.strip()
    logs.start("forget", level=40)
    hops.hush()
    try:
        user_id = msgspec.convert(given.lower(), Uuid)
        wanted = settings.read(Settings, settings.environ())
    except msgspec.ValidationError:
        print(f"{given!r} is no user's id; one looks like 3f2b8a1c-90de-4c1b-8a77-0d5b5f3c2e19", file=sys.stderr)
        return 2
    except settings.WrongSetting as error:
        print(error, file=sys.stderr)
        return 2
    done = True
    for part, said, forgotten in forget(wanted, user_id):
        print(f"{part:<8} {said}", file=sys.stdout if forgotten else sys.stderr, flush=True)
        done = done and forgotten
    if not done:
        print("not forgotten everywhere: give the same command again", file=sys.stderr)
        return 1
    hours = held_hours(wanted.topic_hours)
    print(
        f"Kafka    {USERS} and {DEAD_LETTERS} hold what they have of the user for {hours:,} more hours at most, "
        f"if they were made with VIGIE_TOPIC_RETENTION_HOURS={wanted.topic_hours}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
