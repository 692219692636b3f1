"""The readings of a real Cassandra and a real document store, empty, full, killed and hung; on ports of their own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psutil
import pytest
from cassandra.cluster import Cluster
from pymongo import MongoClient

from dashboard import search, spans
from dashboard.cross import Counts, Tally
from dashboard.queries import Count, Newest, NewUser, Sums, Totals
from dashboard.search import Card, Page, Place, Wanted
from dashboard.stores import PATIENCE_S, Cassandra, Down, Mongo, Settings, Stores, stores
from engines import supervise
from engines.state import State
from spark.contract import CROSS, DATABASE, KEYSPACE, NEWEST_USERS, TABLES, USERS

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

CASSANDRA_PORT, MONGO_PORT = 28442, 28417
PORTS = {
    "VIGIE_CASSANDRA_PORT": str(CASSANDRA_PORT),
    "VIGIE_CASSANDRA_STORAGE_PORT": "28410",
    "VIGIE_CASSANDRA_JMX_PORT": "28411",
    "VIGIE_MONGO_PORT": str(MONGO_PORT),
}
SETTINGS = Settings(
    cassandra_hosts="127.0.0.1", cassandra_port=CASSANDRA_PORT, mongo_uri=f"mongodb://127.0.0.1:{MONGO_PORT}"
)
ANA = ("Spain", "female", "40", "ES")
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = NOW.replace(second=0)


@pytest.fixture(scope="module")
def state() -> Iterator[State]:
    """Both stores, running; the folder of their state."""
    folder = Path(tempfile.mkdtemp(prefix="vigie-"))
    env = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    env |= PORTS | {"VIGIE_STATE": str(folder)}

    def engines(*words: str) -> None:
        command = [sys.executable, "-m", "engines", *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=250, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        engines("up", "--only", "cassandra,documents")
        yield State(folder)
    finally:
        engines("down")
    shutil.rmtree(folder)


@pytest.fixture
def asked(state: State) -> Stores:
    return stores(SETTINGS)


@pytest.fixture(scope="module")
def _filled(state: State) -> None:
    """Two users, one of today; a minute of each of two days."""
    cluster = Cluster(["127.0.0.1"], port=CASSANDRA_PORT, connect_timeout=30, control_connection_timeout=30)
    session = cluster.connect()
    session.execute(
        f"CREATE KEYSPACE {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    for table in TABLES:
        session.execute(table.format(keyspace=KEYSPACE, minutes_ttl_s=86400))
    totals = f"INSERT INTO {KEYSPACE}.totals (period, dimension, value, users, age_sum) VALUES (%s, %s, %s, %s, %s)"
    for period, users, age_sum in (("all", 2, 71), (NOW.date().isoformat(), 1, 41)):
        values = (
            ("all", "all"),
            ("country", "Spain"),
            ("gender", "female"),
            ("age", "40"),
            (CROSS, "Spain|female|40|ES"),
        )
        for dimension, value in values:
            session.execute(totals, (period, dimension, value, users, age_sum))
    minutes = (
        f"INSERT INTO {KEYSPACE}.stats_by_minute (dimension, day, minute, value, users, age_sum) "
        "VALUES ('all', %s, %s, 'all', %s, 41)"
    )
    for minute, users in ((MINUTE, 1), (MINUTE - timedelta(minutes=30), 7), (MINUTE - timedelta(minutes=90), 9)):
        session.execute(minutes, (minute.date(), minute, users))
    day_ago = MINUTE - timedelta(days=1)
    for minute, users in ((day_ago - timedelta(minutes=1), 3), (day_ago + timedelta(hours=1), 5)):
        session.execute(minutes, (minute.date(), minute, users))
    crossed = minutes.replace("'all', %s, %s, 'all'", f"'{CROSS}', %s, %s, 'Spain|female|40|ES'")
    for back in (1, 2, 61):
        minute = MINUTE - timedelta(minutes=back)
        session.execute(crossed, (minute.date(), minute, 1))
    session.execute(f"INSERT INTO {KEYSPACE}.lanes (lane, summed_at, newest) VALUES ('stats', %s, %s)", (NOW, NOW))
    cluster.shutdown()
    with MongoClient(f"mongodb://127.0.0.1:{MONGO_PORT}") as client:
        client[DATABASE][USERS].insert_many([{"_id": "u1"}, {"_id": "u2"}])
        user = {"user_id": "u1", "first": "Ana", "last": "Lopez", "country": "Spain", "gender": "female", "age": 41}
        user |= {"fetched_at": NOW, "stored_at": NOW}
        client[DATABASE][NEWEST_USERS].insert_one({"_id": 0, "users": [user]})


def until(answers: Callable[[], bool], limit_s: float = 90) -> None:
    ends = time.monotonic() + limit_s
    while not answers():
        assert time.monotonic() < ends, f"not within {limit_s} s"
        time.sleep(0.2)


def back(asked: Stores) -> bool:
    said = asked.read()
    return isinstance(said.sums, Sums) and isinstance(said.newest, Newest)


def test_stores_without_tables_say_so_or_are_empty(asked):
    until(lambda: asked.read().stored == 0)
    said = asked.read()
    assert isinstance(said.sums, Down)
    assert said.sums.why == "it has no tables yet: the stats lane makes them"
    assert said.newest == Newest(())


@pytest.mark.usefixtures("_filled")
def test_what_the_lanes_wrote_is_read_as_it_was_written(asked):
    until(lambda: back(asked))
    said = asked.read()
    counts = {"countries": (Count("Spain", 2),), "genders": (Count("female", 2),), "ages": (Count("40", 2),)}
    assert isinstance(said.sums, Sums)
    assert said.sums.all_time == Totals(2, 71, **counts, crossed={ANA: Tally(2, 71)})
    assert (said.sums.today.users, said.sums.today.age_sum) == (1, 41)
    assert said.sums.minutes == {MINUTE: 1, MINUTE - timedelta(minutes=30): 7, MINUTE - timedelta(minutes=90): 9}
    earlier = 3 if (NOW - timedelta(minutes=1)).date() == NOW.date() else 0  # just after midnight, the day before
    assert said.sums.yesterday == earlier
    assert said.sums.newest == NOW
    assert said.newest == Newest((NewUser("Ana L.", "Spain", "female", 41, NOW, NOW),))
    assert said.stored == 2


@pytest.mark.usefixtures("_filled")
def test_a_range_is_read_by_days_by_minutes_or_whole():
    cassandra = Cassandra(SETTINGS)

    def counts(name: str) -> list[Counts]:
        wanted = spans.span(name, NOW)
        return [one.counts for one in cassandra.read(lambda session, known: spans.read(session, known, wanted))]

    assert counts("all") == [{ANA: Tally(2, 71)}]
    assert counts("7d") == counts("today") == [{ANA: Tally(1, 41)}]
    assert counts("yesterday") == []
    assert counts("hour") == [{ANA: Tally(1, 41)}] * 2
    assert cassandra.read(partial(spans.counted, wanted=spans.span("yesterday", NOW))) == spans.Counted((), NOW)
    cassandra.close()


PEOPLE = 60


@pytest.fixture
def people(state: State) -> Iterator[list[str]]:
    """Users of whom each page of the source has ten, fetched at once; the ids of the Danes, the newest first."""
    with MongoClient(f"mongodb://127.0.0.1:{MONGO_PORT}") as client:
        users = client[DATABASE][USERS]
        users.create_index([("fetched_at", -1), ("_id", -1)])
        users.create_index([("location.country", 1), ("fetched_at", -1), ("_id", -1)])
        made = [
            {
                "_id": f"{n * 7919 % 2**32:08x}-0000-4000-8000-{n:012x}",
                "name": {"title": "Ms", "first": "Ida", "last": "Holm"},
                "location": {"country": "Denmark" if n % 3 else "Norway"},
                "gender": "female" if n % 2 else "male",
                "dob": {"age": 20 + n},
                "fetched_at": NOW - timedelta(seconds=n // 10),
            }
            for n in range(PEOPLE)
        ]
        users.insert_many(made, ordered=False)
        users.insert_one({"_id": "forgotten", "forgotten_at": NOW, "topic": None})
        danes = [one for one in made if one["location"]["country"] == "Denmark"]
        yield [one["_id"] for one in sorted(danes, key=lambda one: (one["fetched_at"], one["_id"]), reverse=True)]
        users.delete_many({"_id": {"$in": [one["_id"] for one in made] + ["forgotten"]}})


def test_pages_of_users_follow_each_other_both_ways_and_nobody_is_left_out_or_twice(people, monkeypatch):
    monkeypatch.setattr(search, "PAGE", 7)
    mongo = Mongo(SETTINGS, search.LONGEST_S)
    wanted = Wanted(country="Denmark")

    def read(place: Place | None) -> Page:
        return mongo.read(lambda database: search.page(database, wanted, place))

    page = read(None)
    pages = [page]
    while page.older:
        pages.append(page := read(page.next("older")))
    assert [user.user_id for one in pages for user in one.users] == people
    assert not pages[0].newer
    while page.newer and len(pages) < 20:
        pages.append(page := read(page.next("newer")))
    assert page.users == pages[0].users
    assert not page.newer


@pytest.mark.usefixtures("people")
def test_users_are_found_by_gender_age_and_time_and_the_forgotten_never():
    mongo = Mongo(SETTINGS)

    def found(**wanted) -> int:
        return len(mongo.read(lambda database: search.page(database, Wanted(**wanted), None)).users)

    assert found(youngest=30, oldest=39) == 10
    assert found(youngest=30, oldest=39, gender="male") == 5
    assert found(since=NOW - timedelta(seconds=1), until=NOW) == 10
    assert found(country="Atlantis") == 0
    assert mongo.read(lambda database: search.card(database, "forgotten")) == Card(None, forgotten_at=NOW)
    assert mongo.read(lambda database: search.card(database, "nobody")) is None
    assert mongo.read(search.embedded)


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize(("program", "part"), [("cassandra", "sums"), ("documents", "newest")])
def test_a_store_that_hangs_is_told_in_time_while_the_other_goes_on(asked, state, program, part):
    until(lambda: back(asked))
    os.kill(supervise.pid(state, program), signal.SIGSTOP)
    try:
        started = time.monotonic()
        said = asked.read()
        assert time.monotonic() - started < PATIENCE_S + 0.5
        assert [name for name in ("sums", "newest") if isinstance(getattr(said, name), Down)] == [part]
    finally:
        os.kill(supervise.pid(state, program), signal.SIGCONT)
    until(lambda: back(asked))


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize(("program", "part"), [("cassandra", "sums"), ("documents", "newest")])
def test_a_store_that_was_killed_is_read_again_when_it_is_back(asked, state, program, part):
    until(lambda: back(asked))
    psutil.Process(supervise.pid(state, program)).kill()
    until(lambda: isinstance(getattr(asked.read(), part), Down), limit_s=10)
    until(lambda: back(asked))
