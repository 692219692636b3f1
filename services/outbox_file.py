"""
The outbox's file: one of SQLite, its tables and their formats, its counts, and what may be wrong with it.

    OutboxError
    ├── OutboxFull      no room: the bound, or the disk; nothing of the page was kept, its cursor neither
    └── OutboxDamaged   the file is no outbox; `open_outbox` puts it aside and starts a new one

Whoever only looks (`read_counts`) or removes one person (`forget`) does so beside the ingestion that has it open.
"""

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.contract import DEAD_LETTERS, USERS

FORMAT = 3
SCHEMA = """
CREATE TABLE identity(id TEXT NOT NULL);
CREATE TABLE outbox(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, key BLOB, value BLOB NOT NULL,
    reason TEXT, fetch BLOB, trace TEXT NOT NULL DEFAULT '', journey INTEGER NOT NULL DEFAULT 0,
    canary INTEGER NOT NULL DEFAULT 0, kept_at REAL
);
CREATE INDEX outbox_by_kind ON outbox(topic, canary);
CREATE TABLE seen(seq INTEGER PRIMARY KEY AUTOINCREMENT, user_id BLOB NOT NULL UNIQUE);
CREATE TABLE cursors(
    seed TEXT, page_size INTEGER, nationalities TEXT, page INTEGER NOT NULL, PRIMARY KEY(seed, page_size, nationalities)
);
CREATE TABLE settings(key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE calls(at REAL NOT NULL, users INTEGER NOT NULL);
CREATE TABLE positions(topic TEXT, partition INTEGER, offset INTEGER NOT NULL, PRIMARY KEY(topic, partition));
CREATE TABLE counts(name TEXT PRIMARY KEY, n INTEGER NOT NULL);
INSERT INTO counts
    VALUES ('fetched', 0), ('duplicates', 0), ('rejected', 0), ('acknowledged', 0), ('acknowledged_dead', 0);
INSERT INTO counts VALUES ('canaries', 0), ('acknowledged_canaries', 0), ('before', 0), ('before_dead', 0);
CREATE TABLE forgotten(seq INTEGER PRIMARY KEY, topic TEXT NOT NULL);
"""
FROM_1 = """
ALTER TABLE outbox ADD COLUMN trace TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN journey INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN canary INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN kept_at REAL;
CREATE INDEX outbox_by_kind ON outbox(topic, canary);
INSERT INTO counts VALUES ('canaries', 0), ('acknowledged_canaries', 0), ('before', 0), ('before_dead', 0);
"""
FROM_2 = """
CREATE TABLE forgotten(seq INTEGER PRIMARY KEY, topic TEXT NOT NULL);
"""
STEPS = {1: FROM_1 + FROM_2, 2: FROM_2}  # to this format, by the one that a file has
COUNT = """
SELECT name, n FROM counts
UNION ALL SELECT 'waiting', count(*) FROM outbox
UNION ALL SELECT 'waiting_dead', count(*) FROM outbox WHERE topic=?1
UNION ALL SELECT 'waiting_canaries', count(*) FROM outbox WHERE topic=?2 AND canary=1
UNION ALL SELECT 'forgotten', count(*) FROM forgotten
UNION ALL SELECT 'forgotten_dead', count(*) FROM forgotten WHERE topic=?1
"""  # one statement, so one moment; all by the index, whose size alone tells how many rows there are
REFUSED = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_BUSY", "SQLITE_READONLY")  # by disk or system


class OutboxError(Exception):
    """The base of what the outbox can say instead of yes."""


class OutboxFull(OutboxError):
    """No room: nothing of the page was kept, nor its cursor moved."""


class OutboxDamaged(OutboxError):
    """The file is not an outbox that this version can read."""


@dataclass(frozen=True)
class Counts:
    """
    Since the outbox was made: fetched = duplicates + rejected + the users that wait, are acknowledged or forgotten.

    Canaries are no users: canaries = acknowledged_canaries + waiting_canaries. `before` and `before_dead` are the
    messages of earlier outboxes (canaries too) that the topics held when this one began. `forgotten` rows of users, and
    `forgotten_dead` of letters, were removed before the brokers had acknowledged them.
    """

    fetched: int
    duplicates: int
    rejected: int
    acknowledged: int
    acknowledged_dead: int
    waiting: int
    waiting_dead: int
    canaries: int = 0
    acknowledged_canaries: int = 0
    waiting_canaries: int = 0
    before: int = 0
    before_dead: int = 0
    forgotten: int = 0
    forgotten_dead: int = 0


def outbox_path(state: Path) -> Path:
    """Where ingestion keeps its outbox."""
    return state / "data" / "ingest" / "outbox.sqlite"


def opened(path: Path) -> tuple[sqlite3.Connection, str, int]:
    """
    Open or make the file, of this format; with it return the outbox's id, and how many bytes wait in it.

    Raises:
        OutboxDamaged: it is there and is not an outbox.
        OutboxFull: the disk has no room for it, or refuses it: nothing is known of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        with transaction(db):
            if not _format(db) and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                _do(db, SCHEMA)
                db.execute("INSERT INTO identity VALUES (?)", (str(uuid.uuid4()),))
        _check(db, path)
        with transaction(db):  # to this format, whole or not at all; the rows stay as they are
            if (found := _format(db)) in STEPS:
                _do(db, STEPS[found])
        (outbox_id,) = db.execute("SELECT id FROM identity").fetchone()
        (waiting,) = db.execute("SELECT coalesce(sum(length(value)), 0) FROM outbox").fetchone()
    except sqlite3.DatabaseError as error:
        db.close()
        if getattr(error, "sqlite_errorname", "").startswith(REFUSED):
            raise OutboxFull(f"{path}: {error}") from error
        raise OutboxDamaged(f"{path}: {error}") from error
    except OutboxError:
        db.close()
        raise
    return db, outbox_id, waiting


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """What is written within is there as a whole after it, or, when an error leaves it, not at all."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _format(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _do(db: sqlite3.Connection, script: str) -> None:
    for statement in filter(str.strip, script.split(";\n")):
        db.execute(statement)
    db.execute(f"PRAGMA user_version={FORMAT}")


def _check(db: sqlite3.Connection, path: Path) -> None:
    found = _format(db)
    if found not in (*STEPS, FORMAT):
        raise OutboxDamaged(f"{path}: format {found}; this version reads 1 to {FORMAT}")
    db.execute("SELECT seq, topic, key, value, reason, fetch FROM outbox LIMIT 0")
    result = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if result != "ok":
        raise OutboxDamaged(f"{path}: {result}")


def put_aside(path: Path) -> Path:
    """Rename the file and its companions, with the time; return its new place."""
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
    for ending in ("", "-wal", "-shm"):
        part = path.with_name(path.name + ending)
        if part.exists():
            part.rename(aside.with_name(aside.name + ending))
    return aside


def read_counts(db: sqlite3.Connection) -> Counts:
    """All counts of one moment, from any connection to the file."""
    found = dict(db.execute(COUNT, (DEAD_LETTERS, USERS)).fetchall())
    found["waiting"] -= found["waiting_dead"] + found["waiting_canaries"]
    found["forgotten"] -= found["forgotten_dead"]
    return Counts(**found)


def forget(path: Path, user_id: str, patience_s: float = 30) -> int:
    """
    Remove the rows of one user, letters that hold the id too, from the file and its free pages; return how many.

    Another process may be at work on it. The id stays among those met, so that the door keeps the user out. A row that
    was being sent is counted as acknowledged when the brokers have it.

    Raises:
        sqlite3.Error: there is no outbox, it is of an earlier format, or it was in use for too long; call again.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=patience_s, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        rows = db.execute(
            "DELETE FROM outbox WHERE canary=0 AND (key=? OR (topic=? AND instr(value, ?))) RETURNING seq, topic",
            (user_id.encode(), DEAD_LETTERS, user_id.encode()),
        ).fetchall()
        db.executemany("INSERT INTO forgotten VALUES (?,?)", rows)
        db.execute("INSERT OR IGNORE INTO seen(user_id) VALUES (?)", (short(user_id),))
        db.execute("COMMIT")
        db.execute("VACUUM")  # rows that left the file long ago lie in its free pages
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("the outbox's log is in use and still holds what was removed")
    return len(rows)


def short(user_id: str) -> bytes:
    """An id as the outbox remembers it: its 16 bytes."""
    return bytes.fromhex(user_id.replace("-", ""))
