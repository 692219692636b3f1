"""
What each hop holds, read whole for the audit: the outbox, both topics, MongoDB's users, Cassandra's sums.

Reading everything takes a while (some thousand users a second); nothing but the audit does it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple

from cassandra.cluster import Session
from kafka import KafkaConsumer, TopicPartition

from services import hops, topics
from services.contract import DEAD_LETTERS, INGEST, ORIGIN, STAGE, USERS, PoisonMessage, decode, row_of
from services.outbox_file import Counts, outbox_path, read_counts
from spark.contract import (
    AGE,
    AGE_BAND,
    ALL_TIME,
    BETWEEN,
    COUNTRY,
    CROSS,
    CROSSED,
    DATABASE,
    DIMENSIONS,
    EVERYONE,
    FORGOTTEN_AT,
    GENDER,
    GROUPS,
    KEYSPACE,
    NATIONALITY,
    NEWEST_USERS,
)
from spark.contract import USERS as COLLECTION

Key = tuple[str, str]  # dimension, value
Sums = tuple[int, int]  # users, age_sum
Minutes = dict[tuple[datetime, Key], Sums]


@dataclass(frozen=True)
class Settings(hops.Settings):
    """Where the hops are, and what of the run the seed decides."""

    pages: int
    page_size: int
    nationalities: str
    source_url: str
    minutes_days: int = field(metadata={"key": "VIGIE_MINUTES_RETENTION_DAYS"})
    users_days: int = field(metadata={"key": "VIGIE_USERS_RETENTION_DAYS"})
    simulator_port: int

    @property
    def days_compared(self) -> int:
        """How many days back both stores hold everything."""
        return min(self.minutes_days, self.users_days or self.minutes_days)

    @property
    def of_simulator(self) -> bool:
        """Whether our simulator is the source, at whatever host: then the seed says who must exist."""
        return self.source_url.endswith(f":{self.simulator_port}/api/")


@dataclass(frozen=True)
class Fetched:
    """The outbox at the start: its counts, its last row, and how far the run's seed had come."""

    outbox_id: str
    counts: Counts
    last_row: int
    seed: str
    pages: dict[str, int]  # seed (with its generation) -> pages kept
    forgotten: frozenset[int] = frozenset()  # rows removed that may have been on their way to the topic


@dataclass
class OnTopic:
    """What the topics hold up to the fence."""

    ends: dict[TopicPartition, int]
    complete: bool  # nothing was forgotten yet: the topic still begins at 0
    ids: Counter[str] = field(default_factory=Counter)  # of users: canaries are none, and are counted beside them
    canaries: int = 0
    poison: set[str] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)
    dead_rows: set[int] = field(default_factory=set)
    dead_ids: set[str] = field(default_factory=set)
    dead_origins: set[str] = field(default_factory=set)


def fetched(wanted: Settings) -> Fetched:
    """What ingestion says that it has fetched."""
    with hops.read_only(outbox_path(wanted.state)) as db:
        db.execute("BEGIN")
        (seed,) = db.execute("SELECT value FROM settings WHERE key='seed'").fetchone() or ("",)
        cursors = db.execute(
            "SELECT seed, page FROM cursors WHERE (page_size, nationalities)=(?,?)",
            (wanted.page_size, wanted.nationalities),
        ).fetchall()
        last = db.execute("SELECT seq FROM sqlite_sequence WHERE name='outbox'").fetchone()
        return Fetched(
            outbox_id=db.execute("SELECT id FROM identity").fetchone()[0],
            counts=read_counts(db),
            last_row=last[0] if last else 0,
            seed=seed,
            forgotten=frozenset(seq for (seq,) in db.execute("SELECT seq FROM forgotten")),
            pages={name: page - 1 for name, page in cursors if name == seed or name.startswith(f"{seed}.")},
        )


def left_in_outbox(wanted: Settings, up_to: int) -> str:
    with hops.read_only(outbox_path(wanted.state)) as db:
        n = db.execute("SELECT count(*) FROM outbox WHERE seq <= ?", (up_to,)).fetchone()[0]
    return f"{n:,} rows still wait for the brokers" if n else ""


def left_for(wanted: Settings, ends: Mapping[TopicPartition, int]) -> str:
    behind = []
    for lane, read in hops.committed(wanted).items():
        n = sum(max(0, end - read.get(tp, 0)) for tp, end in ends.items() if tp.topic == USERS)
        if n:
            behind.append(f"the {lane} lane ({GROUPS[lane]}) is {n:,} messages behind")
    return "; ".join(behind)


def topic_ends(reader: KafkaConsumer) -> dict[TopicPartition, int]:
    both = [*topics.partitions(reader, USERS), *topics.partitions(reader, DEAD_LETTERS)]
    return dict(topics.ends(reader, both))


def read_topics(reader: KafkaConsumer, ends: dict[TopicPartition, int], outbox_id: str) -> OnTopic:
    """Read both topics from their first record to the fence."""
    begins = topics.begins(reader, list(ends))
    found = OnTopic(ends, complete=not any(begins.values()))
    for record in topics.records(reader, begins, ends):
        headers = dict(record.headers)
        ours = row_of(record.headers, outbox_id)
        if record.topic == DEAD_LETTERS:
            if ours is not None:
                found.dead_rows.add(ours)
            if record.key:
                found.dead_ids.add(record.key.decode(errors="replace"))
            if headers.get(STAGE) != INGEST.encode():
                found.dead_origins.add((headers.get(ORIGIN) or b"").decode(errors="replace"))
            continue
        try:
            event = decode(record.value)
            if event.canary:
                found.canaries += 1
            else:
                found.ids[event.user_id] += 1
        except PoisonMessage:
            found.poison.add(f"{record.topic}:{record.partition}:{record.offset}")
        if ours is not None:
            found.rows.add(ours)
    return found


def is_canary(value: bytes | None) -> bool:
    try:
        return decode(value).canary
    except PoisonMessage:
        return False


class User(NamedTuple):
    """What is summed of a stored user."""

    appended_at: datetime
    country: str
    gender: str
    age: int
    nationality: str


@dataclass
class Stored:
    """
    Every document of MongoDB: users by id, with what is summed of each, and the ids of those forgotten.

    Of the forgotten who had been stored `minutes` counts when they were appended; `ahead` were not yet. `registered`
    are the erasures that were done before the documents were read, `shown` the ids among the newest users, read last.
    """

    users: dict[str, User] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    minutes: Counter[datetime] = field(default_factory=Counter)
    ahead: int = 0
    registered: set[str] = field(default_factory=set)
    shown: set[str] = field(default_factory=set)


def stored_users(wanted: Settings) -> Stored:
    """Read MongoDB whole."""
    facts_of = ("appended_at", "gender", "nat", "location.country", "dob.age", FORGOTTEN_AT, "topic")
    found = Stored(registered=hops.forgotten(wanted))
    with hops.mongo(wanted) as client:
        for one in client[DATABASE][COLLECTION].find({}, facts_of):
            if FORGOTTEN_AT not in one:
                facts = one["location"]["country"], one["gender"], one["dob"]["age"], one["nat"]
                found.users[one["_id"]] = User(one["appended_at"], *facts)
                continue
            found.forgotten.add(one["_id"])
            if one["topic"]:
                found.minutes[minute_of(one["appended_at"])] += 1
            else:
                found.ahead += 1
        for partition in client[DATABASE][NEWEST_USERS].find({}, {"users.user_id": 1}):
            found.shown |= {one["user_id"] for one in partition["users"]}
    return found


def minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def of_user(user: User) -> dict[str, str]:
    """The value of a user in every dimension."""
    values = {
        EVERYONE: EVERYONE,
        COUNTRY: user.country,
        GENDER: user.gender,
        AGE: str(user.age // AGE_BAND * AGE_BAND),
        NATIONALITY: user.nationality,
    }
    return values | {CROSS: BETWEEN.join(values[name] for name in CROSSED)}


def expected_sums(users: Iterable[User], before: datetime) -> Minutes:
    """What Cassandra must hold for every minute before `before`, summed from the documents."""
    alike: Counter[User] = Counter()
    for user in users:
        minute = minute_of(user.appended_at)
        if minute < before:
            alike[user._replace(appended_at=minute)] += 1
    sums: dict[tuple[datetime, Key], Sums] = defaultdict(lambda: (0, 0))
    for user, n in alike.items():
        for key in of_user(user).items():
            had, age = sums[user.appended_at, key]
            sums[user.appended_at, key] = (had + n, age + n * user.age)
    return dict(sums)


class Summed:
    """Cassandra's side, as values."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.by_minute = session.prepare(
            f"SELECT minute, value, users, age_sum FROM {KEYSPACE}.stats_by_minute WHERE dimension=? AND day=?"
        )
        self.by_period = session.prepare(
            f"SELECT dimension, value, users, age_sum FROM {KEYSPACE}.totals WHERE period=?"
        )

    def minutes(self, day: date) -> dict[tuple[datetime, Key], Sums]:
        return {
            (row.minute.replace(tzinfo=UTC), (dimension, row.value)): (row.users, row.age_sum)
            for dimension in DIMENSIONS
            for row in self.session.execute(self.by_minute, (dimension, day))
        }

    def totals(self, period: str) -> dict[Key, Sums]:
        rows = self.session.execute(self.by_period, (period,))
        return {(row.dimension, row.value): (row.users, row.age_sum) for row in rows}

    def days(self) -> list[date]:
        rows = self.session.execute(f"SELECT DISTINCT period FROM {KEYSPACE}.totals")
        return sorted(date.fromisoformat(row.period) for row in rows if row.period != ALL_TIME)
