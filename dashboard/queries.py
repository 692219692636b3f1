"""
What the pages ask the stores: each query reads partitions by their key, and returns values without personal data.

    ContractBroken    a document is not what spark.contract promises
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from cassandra.cluster import Session
from cassandra.query import PreparedStatement
from pymongo.database import Database
from pymongo.errors import OperationFailure

from dashboard.cross import Cell, Counts, Tally, parted
from spark.contract import (
    AGE,
    ALL_TIME,
    COUNTRY,
    CROSS,
    EVERYONE,
    GENDER,
    KEYSPACE,
    NATIONALITY,
    NEWEST,
    NEWEST_USERS,
    STATS,
    USERS,
)

NO_SUCH_COLLECTION = 26  # MongoDB's NamespaceNotFound
MINUTES = 60  # as many as the chart shows, the running one last; as many before them are what they are compared with

Document = dict[str, Any]


class ContractBroken(Exception):
    """A document is not what spark.contract promises; the text names the field, never its value."""


@dataclass(frozen=True)
class Count:
    """One value of a dimension and its users."""

    value: str
    users: int


@dataclass(frozen=True)
class Totals:
    """
    One period's users, their ages' sum in years, and the users by country, gender, first year of the age band and
    nationality; `crossed` by all of these at once.
    """

    users: int = 0
    age_sum: int = 0
    countries: tuple[Count, ...] = ()
    genders: tuple[Count, ...] = ()
    ages: tuple[Count, ...] = ()
    nationalities: tuple[Count, ...] = ()
    crossed: Counts = field(default_factory=dict)


@dataclass(frozen=True)
class Sums:
    """
    What the stats lane wrote: totals, users by minute (UTC) of the last two hours, and the newest `fetched_at` in them;
    `yesterday` are those of yesterday up to this time of the day.
    """

    all_time: Totals
    today: Totals
    minutes: Mapping[datetime, int]
    newest: datetime | None
    yesterday: int = 0


@dataclass(frozen=True)
class NewUser:
    """A user as a page may show one: the name is masked."""

    name: str
    country: str
    gender: str
    age: int
    fetched_at: datetime
    stored_at: datetime


@dataclass(frozen=True)
class Newest:
    """The last users that the raw lane stored, newest first."""

    users: tuple[NewUser, ...]


@dataclass(frozen=True)
class Statements:
    """The prepared reads of one Cassandra session."""

    totals: PreparedStatement
    minutes: PreparedStatement
    until: PreparedStatement
    lane: PreparedStatement
    crossed: PreparedStatement
    crossed_minutes: PreparedStatement


@dataclass(frozen=True)
class _Newcomer:
    user_id: str
    first: str
    last: str
    country: str
    gender: str
    age: int
    fetched_at: datetime
    stored_at: datetime


def prepare(session: Session) -> Statements:
    """Prepare the reads; Cassandra refuses (InvalidRequest) while the stats lane has not yet made the tables."""
    return Statements(
        totals=session.prepare(f"SELECT dimension, value, users, age_sum FROM {KEYSPACE}.totals WHERE period = ?"),
        minutes=session.prepare(
            f"SELECT minute, users FROM {KEYSPACE}.stats_by_minute WHERE dimension = ? AND day = ? AND minute >= ?"
        ),
        until=session.prepare(
            f"SELECT SUM(users) AS users FROM {KEYSPACE}.stats_by_minute WHERE dimension = ? AND day = ? AND minute < ?"
        ),
        lane=session.prepare(f"SELECT newest FROM {KEYSPACE}.lanes WHERE lane = ?"),
        crossed=session.prepare(
            f"SELECT value, users, age_sum FROM {KEYSPACE}.totals WHERE period = ? AND dimension = '{CROSS}'"
        ),
        crossed_minutes=session.prepare(
            f"SELECT minute, value, users, age_sum FROM {KEYSPACE}.stats_by_minute "
            f"WHERE dimension = '{CROSS}' AND day = ? AND minute >= ? AND minute < ?"
        ),
    )


def sums(session: Session, statements: Statements, now: datetime) -> Sums:
    """Read the page's whole picture in one round trip: five or six partitions at once."""
    first = first_minute(now) - timedelta(minutes=MINUTES)
    days: list[date] = sorted({first.date(), now.date()})
    day_ago = now.replace(second=0, microsecond=0) - timedelta(days=1)
    yesterday = session.execute_async(statements.until, (EVERYONE, day_ago.date(), day_ago))
    totals = [session.execute_async(statements.totals, (period,)) for period in (ALL_TIME, now.date().isoformat())]
    minutes = [session.execute_async(statements.minutes, (EVERYONE, day, first)) for day in days]
    newest = newest_summed(session, statements)
    all_time, today = (summarised(answer.result()) for answer in totals)
    return Sums(
        all_time=all_time,
        today=today,
        minutes={_utc(row.minute): row.users for answer in minutes for row in answer.result()},
        newest=newest,
        yesterday=yesterday.result().one().users or 0,
    )


def newest_summed(session: Session, statements: Statements) -> datetime | None:
    """When the newest user that the stats lane has summed was fetched; None before the first."""
    lane = session.execute(statements.lane, (STATS,)).one()
    return _utc(lane.newest) if lane and lane.newest else None


def first_minute(now: datetime) -> datetime:
    """The first of the MINUTES that end with the running one."""
    return now.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)


def summarised(rows: Iterable[Any]) -> Totals:
    """Gather the rows of one period (dimension, value, users, age_sum); the largest count first, ages in order."""
    counts: dict[str, list[Count]] = {COUNTRY: [], GENDER: [], AGE: [], NATIONALITY: []}
    crossed: dict[Cell, Tally] = {}
    users = age_sum = 0
    for row in rows:
        if row.dimension == EVERYONE:
            users, age_sum = row.users, row.age_sum
        elif row.dimension in counts:
            counts[row.dimension].append(Count(row.value, row.users))
        elif row.dimension == CROSS:
            crossed[parted(row.value)] = Tally(row.users, row.age_sum)
    return Totals(
        users,
        age_sum,
        countries=largest_first(counts[COUNTRY]),
        genders=tuple(sorted(counts[GENDER], key=lambda count: count.value)),
        ages=tuple(sorted(counts[AGE], key=lambda count: int(count.value))),
        nationalities=largest_first(counts[NATIONALITY]),
        crossed=crossed,
    )


def largest_first(counts: Iterable[Count]) -> tuple[Count, ...]:
    return tuple(sorted(counts, key=lambda count: (-count.users, count.value)))


def newest(database: Database[Document]) -> Newest:
    """
    Read the newest users: one small document a partition.

    Raises:
        ContractBroken: a document lacks a field or has one of the wrong type.
    """
    return Newest(newcomers(database[NEWEST_USERS].find({}, {"users": 1})))


def stored(database: Database[Document], longest_s: float) -> int:
    """
    The number of stored users, from the collection's statistics.

    MongoDB keeps that number. Our FerretDB counts the entries of an index: 8 ms with 160,000 users, against 7 s for
    `estimated_document_count`, which there reads every document. After `longest_s` the server gives up as well.
    """
    asked: list[dict[str, Any]] = [{"$collStats": {"count": {}}}]
    try:
        return int(next(database[USERS].aggregate(asked, maxTimeMS=int(longest_s * 1000)))["count"])
    except OperationFailure as error:
        if error.code == NO_SUCH_COLLECTION:
            return 0
        raise


def newcomers(documents: Iterable[Mapping[str, Any]]) -> tuple[NewUser, ...]:
    """Merge the partitions' lists: the newest first, each user once, no more than NEWEST, masked."""
    try:
        lists = [msgspec.convert(document["users"], list[_Newcomer]) for document in documents]
    except (KeyError, msgspec.ValidationError) as error:
        raise ContractBroken(f"{NEWEST_USERS}: {error}") from error
    once = {user.user_id: user for users in lists for user in users}
    newest = sorted(once.values(), key=lambda user: user.fetched_at, reverse=True)[:NEWEST]
    return tuple(
        NewUser(masked(user.first, user.last), user.country, user.gender, user.age, user.fetched_at, user.stored_at)
        for user in newest
    )


def masked(first: str, last: str) -> str:
    """The first name and the last name's initial; of a last name of one letter, not even that."""
    initial = f"{last.strip()[0]}." if len(last.strip()) > 1 else "•"
    return f"{first.strip()} {initial}".strip()


def _utc(naive: datetime) -> datetime:
    """The driver returns UTC without saying so."""
    return naive.replace(tzinfo=UTC)
