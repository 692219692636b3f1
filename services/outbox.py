"""
The outbox: what was fetched and is not yet acknowledged by the brokers, on disk, with the cursor that fetched it.

A page, its cursor and its counts are one transaction; so are acknowledged rows and their counts. What the file is, and
what can go wrong with it, is in services/outbox_file.py.
"""

import sqlite3
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from observability.logs import Log
from services.contract import DEAD_LETTERS, USERS, UserEvent, encode
from services.outbox_file import Counts, OutboxDamaged, OutboxFull, opened, put_aside, read_counts, short, transaction
from services.records import Rejected
from services.source import Cursor

log = Log(__name__)


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

    def acknowledged(self, partition: int, offset: int) -> "Acknowledged":
        """It lies there on its topic."""
        return Acknowledged(self.seq, self.topic, partition, offset, self.value)


@dataclass(frozen=True)
class Acknowledged:
    """Where the brokers have put a row; its `value` tells it from one that bears the same number by forgery."""

    seq: int
    topic: str
    partition: int
    offset: int
    value: bytes


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
        self._db, self.id, self._bytes = opened(path)

    def close(self) -> None:
        self._db.close()

    def is_new(self) -> bool:
        """Whether the topics were never looked at: what they hold of an earlier outbox is not yet known here."""
        return not self.positions()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                with transaction(self._db):
                    yield self._db
            except sqlite3.OperationalError as error:
                raise OutboxFull(f"{self.path}: {error}") from error

    def seed(self, wanted: str, source: str = "") -> str:
        """
        The run's seed: the wanted one, or, if that is empty, the one that this outbox has drawn for this source.

        Each source (a host) has its own: its cursor is not where another's is, and nobody looks for the other's users.
        """
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO settings VALUES ('first_source', ?)", (source,))
            (first,) = db.execute("SELECT value FROM settings WHERE key='first_source'").fetchone()
            drawn = "drawn_seed" if first == source else f"drawn_seed {source}"
            db.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (drawn, uuid.uuid4().hex[:16]))
            seed = wanted or str(db.execute("SELECT value FROM settings WHERE key=?", (drawn,)).fetchone()[0])
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
        """
        When, after `since` (seconds of the epoch), how many users were fetched.

        What was written while the clock was ahead counts as of now.
        """
        now = time.time()
        with self._transaction() as db:
            db.execute("UPDATE calls SET at=? WHERE at > ?", (now, now))
        with self._lock:
            return self._db.execute("SELECT at, users FROM calls WHERE at > ? ORDER BY at", (since,)).fetchall()

    def only_known(self, users: Sequence[UserEvent]) -> bool:
        """Whether there are users and every one was met before."""
        with self._lock:
            return bool(users) and all(
                self._db.execute("SELECT 1 FROM seen WHERE user_id=?", (short(user.user_id),)).fetchone()
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
                if db.execute("INSERT OR IGNORE INTO seen(user_id) VALUES (?)", (short(user.user_id),)).rowcount:
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
        user_ids: Iterable[bytes],
        cursors: Iterable[Cursor],
        seed: str | None,
        before: int = 0,
        before_dead: int = 0,
    ) -> None:
        """
        Learn from the topics, after the file was lost: users published (`short` ids), the pages they came from, the
        run's seed, and how many messages of earlier outboxes each topic holds.
        """
        with self._transaction() as db:
            if seed:
                db.execute("INSERT OR REPLACE INTO settings VALUES ('drawn_seed', ?)", (seed,))
            db.executemany("INSERT OR IGNORE INTO seen(user_id) VALUES (?)", ((i,) for i in user_ids))
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
        waited = "DELETE FROM outbox WHERE seq=? AND topic=? AND value=? RETURNING topic, canary, length(value)"
        forgotten = "DELETE FROM forgotten WHERE seq=? AND topic=? RETURNING topic, 0, 0"
        return db.execute(waited, (*place, one.value)).fetchone() or db.execute(forgotten, place).fetchone()

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


def letter(one: Rejected) -> tuple[str, bytes | None, bytes, str, bytes]:
    """A rejected record as a row: topic, key, value, reason, fetch."""
    key = one.user_id.encode() if one.user_id else None
    return DEAD_LETTERS, key, one.original, one.reason, msgspec.json.encode(one.fetch)


def open_outbox(path: Path, max_bytes: int, seen_users: int) -> Outbox:
    """Open the outbox; a damaged file is put aside beside it, never deleted, and a new one is begun."""
    try:
        return Outbox(path, max_bytes, seen_users)
    except OutboxDamaged as error:
        kept = put_aside(path)
        log.warning("the outbox is damaged: put aside, a new one begun", reason=str(error), kept=str(kept))
        return Outbox(path, max_bytes, seen_users)
