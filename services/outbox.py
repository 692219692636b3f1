"""
The outbox: what was fetched and is not yet acknowledged by the brokers, on disk, with the cursor that fetched it.

    OutboxError
    ├── OutboxFull      no room: the bound, or the disk; nothing of the page was kept, its cursor neither
    └── OutboxDamaged   the file is no outbox; `open_outbox` puts it aside and starts a new one

One SQLite file. A page, its cursor and its counts are one transaction; so are acknowledged rows and their counts.
"""

import sqlite3
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from observability.logs import Log
from services.contract import DEAD_LETTERS, USERS, UserEvent, encode
from services.records import Rejected
from services.source import Cursor

log = Log(__name__)

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
class Row:
    """
    One message waiting for its acknowledgement; `reason` and `fetch` (JSON) are a dead letter's.

    `trace` is the `traceparent` of the page it came with, empty where none was made; a `journey` is traced all the way.
    """

    seq: int
    topic: str
    key: bytes | None
    value: bytes
    reason: str | None
    fetch: bytes | None
    trace: str = ""
    journey: bool = False


@dataclass(frozen=True)
class Acknowledged:
    """Where the brokers have put a row."""

    seq: int
    topic: str
    partition: int
    offset: int


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


class Outbox:
    """An open outbox; its calls may come from several threads."""

    def __init__(self, path: Path, max_bytes: int = 2**28, seen_users: int = 10**6) -> None:
        """
        Open or make the file.

        Raises:
            OutboxDamaged: it is there and is not an outbox.
            OutboxFull: the disk has no room for it, or refuses it: nothing is known of the file.
        """
        self.path, self.max_bytes, self.seen_users = path, max_bytes, seen_users
        self._lock = threading.RLock()
        self._opened_at = time.time()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            with self._transaction():
                if not self._db.execute("PRAGMA user_version").fetchone()[0] and self._is_blank():
                    self._make()
            self._check()
            self._migrate()
            self.id: str = self._db.execute("SELECT id FROM identity").fetchone()[0]
            self._bytes: int = self._db.execute("SELECT coalesce(sum(length(value)), 0) FROM outbox").fetchone()[0]
        except sqlite3.DatabaseError as error:
            self._db.close()
            if getattr(error, "sqlite_errorname", "").startswith(REFUSED):
                raise OutboxFull(f"{path}: {error}") from error
            raise OutboxDamaged(f"{path}: {error}") from error
        except OutboxError:
            self._db.close()
            raise

    def _is_blank(self) -> bool:
        return not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]

    def _make(self) -> None:
        self._do(SCHEMA)
        self._db.execute("INSERT INTO identity VALUES (?)", (str(uuid.uuid4()),))

    def _migrate(self) -> None:
        """Bring a file of an earlier format to this one, whole or not at all; its rows stay as they are."""
        with self._transaction() as db:
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found in STEPS:
                self._do(STEPS[found])

    def _do(self, script: str) -> None:
        for statement in filter(str.strip, script.split(";\n")):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version={FORMAT}")

    def _check(self) -> None:
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found not in (*STEPS, FORMAT):
            raise OutboxDamaged(f"{self.path}: format {found}; this version reads 1 to {FORMAT}")
        self._db.execute("SELECT seq, topic, key, value, reason, fetch FROM outbox LIMIT 0")
        result = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if result != "ok":
            raise OutboxDamaged(f"{self.path}: {result}")

    def close(self) -> None:
        self._db.close()

    def is_new(self) -> bool:
        """Whether the topics were never looked at: what they hold of an earlier outbox is not yet known here."""
        return not self.positions()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise OutboxFull(f"{self.path}: {error}") from error
                raise

    def seed(self, wanted: str) -> str:
        """The run's seed: the wanted one, or, if that is empty, one drawn when this outbox was made."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO settings VALUES ('drawn_seed', ?)", (uuid.uuid4().hex[:16],))
            seed = wanted or str(db.execute("SELECT value FROM settings WHERE key='drawn_seed'").fetchone()[0])
            db.execute("INSERT OR REPLACE INTO settings VALUES ('seed', ?)", (seed,))
            return seed

    def cursor(self, seed: str, page_size: int, nationalities: str) -> Cursor:
        """Where fetching goes on for this seed, page size and choice of nationalities."""
        with self._lock:
            row = self._db.execute(
                "SELECT page FROM cursors WHERE (seed, page_size, nationalities)=(?,?,?)",
                (seed, page_size, nationalities),
            ).fetchone()
        return Cursor(seed, row[0] if row else 1, page_size, nationalities)

    def calls(self, since: float) -> list[tuple[float, int]]:
        """When, after `since` (seconds of the epoch), how many users were fetched."""
        with self._lock:
            return self._db.execute("SELECT at, users FROM calls WHERE at > ? ORDER BY at", (since,)).fetchall()

    def only_known(self, users: Sequence[UserEvent]) -> bool:
        """Whether there are users and every one was met before."""
        with self._lock:
            return bool(users) and all(
                self._db.execute("SELECT 1 FROM seen WHERE user_id=?", (_short(user.user_id),)).fetchone()
                for user in users
            )

    def keep(
        self,
        cursor: Cursor,
        users: Sequence[UserEvent],
        rejected: Sequence[Rejected],
        trace: str = "",
        journeys: Collection[str] = (),
    ) -> int:
        """
        Commit a page and move its cursor, at once or not at all; return how many of its users were not met before.

        `trace` is the page's `traceparent`, `journeys` the ids of its users whose whole way is traced.

        Raises:
            OutboxFull: the bound is reached, or the disk is full; nothing has changed, the same page may be kept later.
        """
        values = [encode(user) for user in users]
        size = sum(map(len, values)) + sum(len(letter.original) for letter in rejected)
        with self._room(size), self._transaction() as db:
            kept, now, n = 0, time.time(), len(users) + len(rejected)
            for user, value in zip(users, values, strict=True):
                if db.execute("INSERT OR IGNORE INTO seen(user_id) VALUES (?)", (_short(user.user_id),)).rowcount:
                    db.execute(
                        "INSERT INTO outbox(topic, key, value, trace, journey, kept_at) VALUES (?,?,?,?,?,?)",
                        (USERS, user.user_id.encode(), value, trace, user.user_id in journeys, now),
                    )
                    kept += 1
                else:
                    self._bytes -= len(value)
            db.executemany(
                "INSERT INTO outbox(topic, key, value, reason, fetch, trace, kept_at) VALUES (?,?,?,?,?,?,?)",
                [(*letter(one), trace, now) for one in rejected],
            )
            db.execute("DELETE FROM seen WHERE seq <= (SELECT max(seq) FROM seen) - ?", (self.seen_users,))
            self._advance(db, cursor, cursor.page + 1)
            db.execute("INSERT INTO calls VALUES (?,?)", (now, n))
            db.execute("DELETE FROM calls WHERE at < ?", (now - 3600,))
            self._count(db, fetched=n, duplicates=len(users) - kept, rejected=len(rejected))
        return kept

    def keep_canary(self, event: UserEvent, trace: str = "") -> None:
        """
        Commit one canary for users.raw; it is no user: neither remembered as met nor counted among them.

        Raises:
            OutboxFull: as of `keep`.
        """
        value = encode(event)
        with self._room(len(value)), self._transaction() as db:
            db.execute(
                "INSERT INTO outbox(topic, key, value, trace, journey, canary, kept_at) VALUES (?,?,?,?,?,1,?)",
                (USERS, event.user_id.encode(), value, trace, bool(trace), time.time()),
            )
            self._count(db, canaries=1)

    @contextmanager
    def _room(self, size: int) -> Iterator[None]:
        """Take so many bytes of the bound for what the `with` keeps; they are given back if it keeps nothing."""
        with self._lock:
            before = self._bytes
            if before + size > self.max_bytes:
                raise OutboxFull(f"{before:,} of {self.max_bytes:,} bytes wait for the brokers (VIGIE_OUTBOX_MAX_MB)")
            self._bytes += size
            try:
                yield
            except BaseException:
                self._bytes = before
                raise

    def bytes_waiting(self) -> int:
        """The bytes of what waits, as the bound counts them."""
        return self._bytes

    def oldest_age_s(self) -> float:
        """Seconds that the oldest row has waited, since the opening if it is of a format-1 file; 0 if none waits."""
        with self._lock:
            row = self._db.execute("SELECT kept_at FROM outbox ORDER BY seq LIMIT 1").fetchone()
        return max(0.0, time.time() - (row[0] or self._opened_at)) if row else 0.0

    def waiting(self, after: int, most: int) -> list[Row]:
        """The oldest rows with a `seq` above `after`, at most so many."""
        with self._lock:
            rows = self._db.execute(
                "SELECT seq, topic, key, value, reason, fetch, trace, journey FROM outbox "
                "WHERE seq > ? ORDER BY seq LIMIT ?",
                (after, most),
            ).fetchall()
        return [
            Row(seq, topic, key, value, reason, fetch, trace, bool(journey))
            for seq, topic, key, value, reason, fetch, trace, journey in rows
        ]

    def acknowledge(self, rows: Iterable[Acknowledged]) -> None:
        """
        Let rows go that the brokers have, and remember how far each partition was looked at.

        Raises:
            OutboxFull: the disk is full; nothing has changed.
        """
        acknowledged = list(rows)
        ends = {(a.topic, a.partition): a.offset + 1 for a in sorted(acknowledged, key=lambda a: a.offset)}
        with self._lock:
            freed = 0
            with self._transaction() as db:
                gone = {(USERS, 0): 0, (USERS, 1): 0, (DEAD_LETTERS, 0): 0}
                for one in acknowledged:
                    row = self._let_go(db, one)
                    if row:
                        gone[row[:2]] += 1
                        freed += row[2]
                self._look_from(db, ends)
                self._count(
                    db,
                    acknowledged=gone[USERS, 0],
                    acknowledged_canaries=gone[USERS, 1],
                    acknowledged_dead=gone[DEAD_LETTERS, 0],
                )
            self._bytes -= freed

    def positions(self) -> dict[tuple[str, int], int]:
        """For each (topic, partition) the offset from which on it may hold rows that still wait here."""
        with self._lock:
            return {(t, p): o for t, p, o in self._db.execute("SELECT topic, partition, offset FROM positions")}

    def look_from(self, positions: dict[tuple[str, int], int]) -> None:
        """Remember that what lies before these offsets has been looked at."""
        with self._transaction() as db:
            self._look_from(db, positions)

    def meet(
        self,
        user_ids: Iterable[str],
        cursors: Iterable[Cursor],
        seed: str | None,
        before: int = 0,
        before_dead: int = 0,
    ) -> None:
        """
        Learn from the topics, after the file was lost: users published, the pages they came from, the run's seed, and
        how many messages of earlier outboxes each topic holds.
        """
        with self._transaction() as db:
            if seed:
                db.execute("INSERT OR REPLACE INTO settings VALUES ('drawn_seed', ?)", (seed,))
            db.executemany("INSERT OR IGNORE INTO seen(user_id) VALUES (?)", [(_short(i),) for i in user_ids])
            for cursor in cursors:
                self._advance(db, cursor, cursor.page)
            found = {"before": before, "before_dead": before_dead}
            db.executemany("UPDATE counts SET n=? WHERE name=?", [(n, name) for name, n in found.items()])

    def counts(self) -> Counts:
        """All counts of one moment."""
        with self._lock:
            return read_counts(self._db)

    @staticmethod
    def _let_go(db: sqlite3.Connection, one: Acknowledged) -> Any:
        """Topic, canary and bytes of the row, which may have been forgotten while it was being sent; None of others."""
        place = (one.seq, one.topic)
        waited = "DELETE FROM outbox WHERE seq=? AND topic=? RETURNING topic, canary, length(value)"
        forgotten = "DELETE FROM forgotten WHERE seq=? AND topic=? RETURNING topic, 0, 0"
        return db.execute(waited, place).fetchone() or db.execute(forgotten, place).fetchone()

    @staticmethod
    def _advance(db: sqlite3.Connection, cursor: Cursor, page: int) -> None:
        db.execute(
            "INSERT INTO cursors VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET page=max(page, excluded.page)",
            (cursor.seed, cursor.page_size, cursor.nationalities, page),
        )

    @staticmethod
    def _look_from(db: sqlite3.Connection, positions: dict[tuple[str, int], int]) -> None:
        db.executemany(
            "INSERT INTO positions VALUES (?,?,?) ON CONFLICT DO UPDATE SET offset=max(offset, excluded.offset)",
            [(topic, partition, offset) for (topic, partition), offset in positions.items()],
        )

    @staticmethod
    def _count(db: sqlite3.Connection, **more: int) -> None:
        db.executemany("UPDATE counts SET n=n+? WHERE name=?", [(n, name) for name, n in more.items()])


def outbox_path(state: Path) -> Path:
    """Where ingestion keeps its outbox."""
    return state / "data" / "ingest" / "outbox.sqlite"


def letter(one: Rejected) -> tuple[str, bytes | None, bytes, str, bytes]:
    """A rejected record as a row: topic, key, value, reason, fetch."""
    key = one.user_id.encode() if one.user_id else None
    return DEAD_LETTERS, key, one.original, one.reason, msgspec.json.encode(one.fetch)


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
        db.execute("INSERT OR IGNORE INTO seen(user_id) VALUES (?)", (_short(user_id),))
        db.execute("COMMIT")
        db.execute("VACUUM")  # rows that left the file long ago lie in its free pages
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("the outbox's log is in use and still holds what was removed")
    return len(rows)


def open_outbox(path: Path, max_bytes: int, seen_users: int) -> Outbox:
    """Open the outbox; a damaged file is put aside beside it, never deleted, and a new one is begun."""
    try:
        return Outbox(path, max_bytes, seen_users)
    except OutboxDamaged as error:
        aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
        for ending in ("", "-wal", "-shm"):
            part = path.with_name(path.name + ending)
            if part.exists():
                part.rename(aside.with_name(aside.name + ending))
        log.warning("the outbox is damaged: put aside, a new one begun", reason=str(error), kept=str(aside))
        return Outbox(path, max_bytes, seen_users)


def _short(user_id: str) -> bytes:
    return bytes.fromhex(user_id.replace("-", ""))
