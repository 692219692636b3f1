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
from pathlib import Path

import psutil
import pytest
from cassandra.cluster import Cluster
from pymongo import MongoClient

from dashboard.queries import Count, Newest, NewUser, Sums, Totals
from dashboard.stores import PATIENCE_S, Down, Settings, Stores, stores
from engines import supervise
from engines.state import State
from spark.contract import DATABASE, KEYSPACE, NEWEST_USERS, TABLES, USERS

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

CASSANDRA_PORT, MONGO_PORT = 28442, 28417
PORTS = {
    "VIGIE_CASSANDRA_PORT": str(CASSANDRA_PORT),
    "VIGIE_CASSANDRA_STORAGE_PORT": "28410",
    "VIGIE_MONGO_PORT": str(MONGO_PORT),
}
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
    return stores(
        Settings(
            cassandra_hosts="127.0.0.1", cassandra_port=CASSANDRA_PORT, mongo_uri=f"mongodb://127.0.0.1:{MONGO_PORT}"
        )
    )


@pytest.fixture(scope="module")
def _filled(state: State) -> None:
    """Two users, one of today; a minute of each of two days."""
    cluster = Cluster(["127.0.0.1"], port=CASSANDRA_PORT)
    session = cluster.connect()
    session.execute(
        f"CREATE KEYSPACE {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    for table in TABLES:
        session.execute(table.format(keyspace=KEYSPACE, minutes_ttl_s=86400))
    totals = f"INSERT INTO {KEYSPACE}.totals (period, dimension, value, users, age_sum) VALUES (%s, %s, %s, %s, %s)"
    for period, users, age_sum in (("all", 2, 71), (NOW.date().isoformat(), 1, 41)):
        for dimension, value in (("all", "all"), ("country", "Spain"), ("gender", "female"), ("age", "40")):
            session.execute(totals, (period, dimension, value, users, age_sum))
    minutes = (
        f"INSERT INTO {KEYSPACE}.stats_by_minute (dimension, day, minute, value, users, age_sum) "
        "VALUES ('all', %s, %s, 'all', %s, 41)"
    )
    for minute, users in ((MINUTE, 1), (MINUTE - timedelta(minutes=30), 7), (MINUTE - timedelta(minutes=90), 9)):
        session.execute(minutes, (minute.date(), minute, users))
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
    assert said.sums.all_time == Totals(2, 71, **counts)
    assert (said.sums.today.users, said.sums.today.age_sum) == (1, 41)
    assert said.sums.minutes == {MINUTE: 1, MINUTE - timedelta(minutes=30): 7}
    assert said.sums.newest == NOW
    assert said.newest == Newest((NewUser("Ana L.", "Spain", "female", 41, NOW, NOW),))
    assert said.stored == 2


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
