"""
Compare every hop with the one before it, as sets of users, while users flow; end non-zero at the first that differs.

What was fetched when the audit starts is followed through: it must have left the outbox, be on the topic, be read by
both lanes, be stored once or set aside, and be summed, minute by minute and in every dimension. With the simulator as
source the users that must exist are computed from the seed and the number of pages alone.
"""

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from pymongo.errors import PyMongoError

from observability import logs, settings
from services import hops, topics
from services.contract import DEAD_LETTERS, ORIGIN, ROW, STAGE, USERS, PoisonMessage, decode
from services.ingest import generation_of, outbox_path
from services.outbox import read_counts
from services.simulator.people import ids as ids_of_page
from services.source import MAX_PAGE
from spark.contract import (
    AGE,
    AGE_BAND,
    ALL_TIME,
    COUNTRY,
    DATABASE,
    DIMENSIONS,
    EVERYONE,
    GENDER,
    GROUPS,
    KEYSPACE,
    NATIONALITY,
)
from spark.contract import USERS as COLLECTION

Key = tuple[str, str]  # dimension, value
Sums = tuple[int, int]  # users, age_sum
SHOWN = 5  # ids named of each difference


@dataclass(frozen=True)
class Settings(hops.Settings):
    """Where the hops are, and what of the run the seed decides."""

    pages: int
    page_size: int
    nationalities: str
    source_url: str
    minutes_days: int = field(metadata={"key": "VIGIE_MINUTES_RETENTION_DAYS"})
    users_days: int = field(metadata={"key": "VIGIE_USERS_RETENTION_DAYS"})
    simulator_port: int = 0
    host: str = ""


@dataclass(frozen=True)
class Finding:
    """One comparison: what was counted, and what differs (empty when nothing does)."""

    hop: str
    counted: str
    differs: str = ""


@dataclass(frozen=True)
class Fetched:
    """The outbox at the start: its counts, its last row, and how far the run's seed had come."""

    outbox_id: str
    counts: Any
    last_row: int
    seed: str
    pages: dict[str, int]  # seed (with its generation) -> pages kept


@dataclass
class OnTopic:
    """What the topics hold up to the fence."""

    ends: dict[TopicPartition, int]
    complete: bool  # nothing was forgotten yet: the topic still begins at 0
    ids: Counter[str] = field(default_factory=Counter)
    poison: set[str] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)
    dead_rows: set[int] = field(default_factory=set)
    dead_ids: set[str] = field(default_factory=set)
    dead_origins: set[str] = field(default_factory=set)


class NotFollowed(Exception):
    """A hop did not let through in time what it held; the text names it."""


def fetched(wanted: Settings) -> Fetched:
    """What ingestion says that it has fetched."""
    with hops.read_only(outbox_path(wanted.state)) as db:
        db.execute("BEGIN")
        seed = db.execute("SELECT value FROM settings WHERE key='seed'").fetchone()[0]
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
            pages={name: page - 1 for name, page in cursors if name == seed or name.startswith(f"{seed}.")},
        )


def wait_for(what: str, done: Callable[[], str], ends: float) -> None:
    """
    Return once `done` has nothing left to name.

    Raises:
        NotFollowed: the time is over; with what was left.
    """
    while left := done():
        if time.monotonic() > ends:
            raise NotFollowed(f"{what}: {left}")
        time.sleep(0.5)


def left_in_outbox(wanted: Settings, up_to: int) -> str:
    with hops.read_only(outbox_path(wanted.state)) as db:
        n = db.execute("SELECT count(*) FROM outbox WHERE seq <= ?", (up_to,)).fetchone()[0]
    return f"{n:,} rows still wait for the brokers" if n else ""


def left_for(wanted: Settings, ends: Mapping[TopicPartition, int]) -> str:
    behind = []
    for lane, group in GROUPS.items():
        read = hops.committed(wanted.kafka_bootstrap, lane)
        n = sum(max(0, end - read.get(tp, 0)) for tp, end in ends.items() if tp.topic == USERS)
        if n:
            behind.append(f"the {lane} lane ({group}) is {n:,} messages behind")
    return "; ".join(behind)


def topic_ends(reader: KafkaConsumer) -> dict[TopicPartition, int]:
    both = [*topics.partitions(reader, USERS), *topics.partitions(reader, DEAD_LETTERS)]
    return dict(reader.end_offsets(both))


def read_topics(reader: KafkaConsumer, ends: dict[TopicPartition, int], outbox_id: str) -> OnTopic:
    """Read both topics from their first record to the fence."""
    begins = reader.beginning_offsets(list(ends))
    found = OnTopic(ends, complete=not any(begins.values()))
    for record in topics.records(reader, begins, ends):
        headers = dict(record.headers)
        owner, _, row = headers.get(ROW, b"").decode(errors="replace").partition(":")
        ours = int(row) if owner == outbox_id and row.isdigit() else None
        if record.topic == DEAD_LETTERS:
            if ours is not None:
                found.dead_rows.add(ours)
            if record.key:
                found.dead_ids.add(record.key.decode(errors="replace"))
            if headers.get(STAGE) != b"ingest":
                found.dead_origins.add(headers.get(ORIGIN, b"").decode(errors="replace"))
            continue
        try:
            found.ids[decode(record.value).user_id] += 1
        except PoisonMessage:
            found.poison.add(f"{record.topic}:{record.partition}:{record.offset}")
        if ours is not None:
            found.rows.add(ours)
    return found


def stored_users(wanted: Settings) -> dict[str, dict[str, Any]]:
    """Every document of MongoDB, by id, with what is summed of it."""
    shown = {"appended_at": 1, "gender": 1, "nat": 1, "location.country": 1, "dob.age": 1, "source": 1}
    with hops.mongo(wanted.mongo_uri) as client:
        return {one["_id"]: one for one in client[DATABASE][COLLECTION].find({}, shown)}


def of_user(user: Mapping[str, Any]) -> dict[str, str]:
    """The value of a user in every dimension."""
    age = user["dob"]["age"]
    return {
        EVERYONE: EVERYONE,
        COUNTRY: user["location"]["country"],
        GENDER: user["gender"],
        AGE: str(age // AGE_BAND * AGE_BAND),
        NATIONALITY: user["nat"],
    }


def expected_sums(users: Iterable[Mapping[str, Any]], before: datetime) -> dict[tuple[datetime, Key], Sums]:
    """What Cassandra must hold for every minute before `before`, summed from the documents."""
    sums: dict[tuple[datetime, Key], Sums] = defaultdict(lambda: (0, 0))
    for user in users:
        minute = user["appended_at"].astimezone(UTC).replace(second=0, microsecond=0)
        if minute < before:
            for key in of_user(user).items():
                n, age = sums[minute, key]
                sums[minute, key] = (n + 1, age + user["dob"]["age"])
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


def differing(one: Mapping[Any, Sums], other: Mapping[Any, Sums]) -> str:
    """The first keys whose sums are not the same on both sides."""
    keys = [key for key in {**one, **other} if one.get(key, (0, 0)) != other.get(key, (0, 0))]
    shown = ", ".join(f"{say(key)}: {one.get(key, (0, 0))} / {other.get(key, (0, 0))}" for key in sorted(keys)[:SHOWN])
    return f"{len(keys)} sums differ (users, age sum: expected / found): {shown}" if keys else ""


def say(key: Any) -> str:
    return " ".join(say(part) for part in key) if isinstance(key, tuple) else str(key)


def named(what: str, found: Iterable[Any]) -> str:
    """A sentence with the first of what was found, empty for nothing."""
    listed = sorted(found)
    return f"{len(listed):,} {what}: {', '.join(map(str, listed[:SHOWN]))}" if listed else ""


def between(low: Mapping[Key, Sums], middle: Mapping[Key, Sums], high: Mapping[Key, Sums]) -> bool:
    """Whether sums that only grow, read in this order, are one and the same growing sum."""
    nothing = (0, 0)
    return all(
        low.get(key, nothing)[n] <= middle.get(key, nothing)[n] <= high.get(key, nothing)[n]
        for key in {**low, **middle, **high}
        for n in (0, 1)
    )


def added(parts: Iterable[Mapping[Any, Sums]]) -> dict[Key, Sums]:
    """The sums of several, by dimension and value."""
    total: dict[Key, Sums] = defaultdict(lambda: (0, 0))
    for part in parts:
        for key, (n, age) in part.items():
            dimension_value = key if isinstance(key[0], str) else key[1]
            had = total[dimension_value]
            total[dimension_value] = (had[0] + n, had[1] + age)
    return dict(total)


def expected_ids(pages: Mapping[str, int], page_size: int, nationalities: str) -> set[str]:
    """The users of those pages of those seeds, from the simulator's own arithmetic."""
    nations = tuple(n for n in nationalities.upper().split(",") if n)
    return {
        user_id
        for seed, n in pages.items()
        for page in range(1, n + 1)
        for user_id in ids_of_page(seed, page, page_size, nations)
    }


def audit(wanted: Settings, patience_s: float) -> Iterator[Finding]:
    """
    Yield one finding after another, in the order of the hops.

    Raises:
        NotFollowed: something that was fetched when the audit began is still on its way after `patience_s` seconds.
    """
    limit = time.monotonic() + patience_s
    start = fetched(wanted)
    yield of_ingestion(start)
    wait_for("outbox", lambda: left_in_outbox(wanted, start.last_row), limit)
    reader = topics.consumer(wanted.kafka_bootstrap)
    try:
        fence = datetime.now(UTC)  # taken first: what was appended before it lies before these ends
        ends = topic_ends(reader)
        topic = read_topics(reader, ends, start.outbox_id)
        yield from of_topic(start, topic)
        wait_for("lanes", lambda: left_for(wanted, ends), limit)
        users = stored_users(wanted)
        dead = topic_ends(reader)
        letters = read_topics(
            reader, {tp: end for tp, end in dead.items() if tp.topic == DEAD_LETTERS}, start.outbox_id
        )
        yield of_poison(topic, letters)
        yield of_store(wanted, topic, users)
        yield phantoms(reader, topic, users)
    finally:
        reader.close()
    yield from of_sums(wanted, users, fence, limit)
    yield of_seed(wanted, start, topic, letters, users)


def of_ingestion(start: Fetched) -> Finding:
    c = start.counts
    users = c.duplicates + c.rejected + c.acknowledged + c.waiting
    letters = c.acknowledged_dead + c.waiting_dead
    differs = ""
    if users != c.fetched:
        differs = f"fetched {c.fetched:,} but known, set aside, acknowledged and waiting are {users:,}"
    elif letters != c.rejected:
        differs = f"set aside {c.rejected:,} but {letters:,} are acknowledged or wait"
    counted = f"{c.fetched:,} fetched, {c.duplicates:,} known already, {c.rejected:,} set aside"
    return Finding("ingestion", counted, differs)


def of_topic(start: Fetched, topic: OnTopic) -> Iterator[Finding]:
    c = start.counts
    twice = sum(n - 1 for n in topic.ids.values())
    counted = f"{c.acknowledged:,} acknowledged, {len(topic.ids):,} users on the topic, {twice:,} copies"
    lost = c.acknowledged - len(topic.rows) if topic.complete else 0
    yield Finding("topic", counted, f"{lost:,} acknowledged users are not on the topic" if lost > 0 else "")
    lost = c.acknowledged_dead - len(topic.dead_rows) if topic.complete else 0
    counted = f"{c.acknowledged_dead:,} acknowledged, {len(topic.dead_rows):,} on the topic"
    yield Finding("dead letters", counted, f"{lost:,} acknowledged ones are not on the topic" if lost > 0 else "")


def of_poison(topic: OnTopic, letters: OnTopic) -> Finding:
    missing = topic.poison - letters.dead_origins
    return Finding("poison", f"{len(topic.poison):,} on the topic", named("without a dead letter", missing))


def of_store(wanted: Settings, topic: OnTopic, users: Mapping[str, Any]) -> Finding:
    missing = set() if wanted.users_days else set(topic.ids) - set(users)
    return Finding("raw lane", f"{len(users):,} users in MongoDB", named("on the topic, not stored", missing))


def phantoms(reader: KafkaConsumer, topic: OnTopic, users: Mapping[str, Any]) -> Finding:
    """Users stored that were never on the topic; what came after the fence is looked up before it is called so."""
    unknown = set(users) - set(topic.ids) if topic.complete else set()
    ends = {tp: end for tp, end in topic_ends(reader).items() if tp.topic == USERS}
    for record in topics.records(reader, {tp: topic.ends[tp] for tp in ends}, ends) if unknown else ():
        unknown.discard((record.key or b"").decode(errors="replace"))
    return Finding("phantoms", f"{len(unknown):,} stored, never on the topic", named("never on the topic", unknown))


def of_sums(wanted: Settings, users: Mapping[str, Any], fence: datetime, limit: float) -> Iterator[Finding]:
    """Minutes that are over are compared one by one; totals, which go on growing, with the sums of their parts."""
    this_minute = fence.replace(second=0, microsecond=0)
    expected = expected_sums(users.values(), this_minute)
    session = hops.cassandra(wanted)
    try:
        summed = Summed(session)
        days = summed.days()
        kept = [day for day in days if (fence.date() - day).days < wanted.minutes_days]
        if not wanted.users_days:
            found = {k: v for day in kept for k, v in summed.minutes(day).items() if k[0] < this_minute}
            comparable = {k: v for k, v in expected.items() if (fence.date() - k[0].date()).days < wanted.minutes_days}
            n = len({key for _, key in found})
            counted = (
                f"{sum(v[0] for k, v in found.items() if k[1][0] == EVERYONE):,} users, {n} values, minute by minute"
            )
            yield Finding("stats lane", counted, differing(comparable, found))
        for name, total, parts in [
            *((f"day {d}", lambda d=d: summed.totals(str(d)), lambda d=d: added([summed.minutes(d)])) for d in kept),
            (
                "all time",
                lambda: summed.totals(ALL_TIME),
                lambda: added([summed.totals(str(day)) for day in summed.days()]),
            ),
        ]:
            yield of_total(name, total, parts, limit)
    finally:
        session.cluster.shutdown()


def of_total(
    name: str, total: Callable[[], dict[Key, Sums]], parts: Callable[[], dict[Key, Sums]], limit: float
) -> Finding:
    low, middle, high = total(), parts(), total()
    while not between(low, middle, high) and time.monotonic() < limit and between(low, middle, middle):
        time.sleep(0.2)
        high = total()
    counted = f"{high.get((EVERYONE, EVERYONE), (0, 0))[0]:,} users in the total"
    return Finding(name, counted, "" if between(low, middle, high) else differing(middle, high))


def of_seed(wanted: Settings, start: Fetched, topic: OnTopic, letters: OnTopic, users: Mapping[str, Any]) -> Finding:
    if wanted.source_url != f"http://{wanted.host}:{wanted.simulator_port}/api/":
        return Finding("seed", "the source is not the simulator: who must exist is not known here")
    pages = asked_pages(start.seed, wanted.pages) if wanted.pages else start.pages
    expected = expected_ids(pages, wanted.page_size, wanted.nationalities)
    missing = expected - set(users) - topic.dead_ids - letters.dead_ids
    counted = f"{len(expected):,} users must exist by seed {start.seed}, pages {sum(pages.values()):,}"
    if missing:
        return Finding("seed", counted, named("neither stored nor set aside", missing))
    twice = [i for i in expected if i in users and i in topic.dead_ids and i not in topic.ids]
    return Finding("seed", counted, named("stored, but only the dead letters had them", twice))


def asked_pages(seed: str, pages: int) -> dict[str, int]:
    """The pages that a run with VIGIE_PAGES must have fetched."""
    return {
        generation_of(seed, generation): min(MAX_PAGE, pages - generation * MAX_PAGE)
        for generation in range(-(-pages // MAX_PAGE))
    }


SILENT = (*hops.SILENT, PyMongoError, NoHostAvailable, DriverException, KafkaError, NotFollowed)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.audit", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the findings as one line of JSON")
    parser.add_argument("--patience", type=float, default=90, metavar="S", help="seconds for what is still on its way")
    asked = parser.parse_args(argv)
    logs.start("audit", level=40)
    try:
        wanted = settings.read(Settings, settings.environ())
    except settings.WrongSetting as error:
        print(error, file=sys.stderr)  # noqa: T201 — the answer to the person who typed it
        return 2
    found: list[Finding] = []
    try:
        for one in audit(wanted, asked.patience):
            found.append(one)
            if not asked.json:
                print(f"{'DIFFERS' if one.differs else 'ok':<8}{one.hop:<16}{one.counted}", flush=True)  # noqa: T201
                if one.differs:
                    print(f"{'':<24}{one.differs}", flush=True)  # noqa: T201
    except SILENT as error:
        found.append(Finding("audit", "", f"could not go on: {type(error).__name__}: {error}"))
        if not asked.json:
            print(f"DIFFERS {found[-1].differs}")  # noqa: T201
    first = next((one for one in found if one.differs), None)
    if asked.json:
        print(msgspec.json.encode(found).decode())  # noqa: T201
    else:
        print(f"the first hop that differs: {first.hop}" if first else "every hop agrees: nothing lost, nothing double")  # noqa: T201
    return 1 if first else 0


if __name__ == "__main__":
    sys.exit(main())
