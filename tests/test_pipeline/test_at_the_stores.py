"""What the lanes do to the stores may be done twice; retention removes whole days and no more."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime

import pytest
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable

from observability import access, settings
from services.contract import Source
from services.records import parse
from services.simulator import people
from spark import raw, retention, stores
from spark.contract import DATABASE, FORGOTTEN_AT, USERS

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]


def documents(seed: str, appended_at: datetime) -> list:
    page = people.users(seed, 1, 20, (), today=date(2026, 11, 24))
    events = [parse(json.dumps(user).encode(), Source(seed, 1, 20), appended_at, 262_144) for user in page]
    return [raw.document(event, 0, offset, appended_at) for offset, event in enumerate(events)]


def test_users_inserted_twice_are_stored_once_and_counted_as_duplicates(stack):
    users = documents("twice", datetime.now(UTC))
    with stack.mongo() as client:
        elsewhere = client["beside"]
        there = [raw.insert(elsewhere, part) for part in (users[:10], users, users)]
        assert there == [set(), set(range(10)), set(range(20))]
        assert len(list(elsewhere[USERS].find({}, {"_id": 1}))) == 20
        client.drop_database("beside")


def test_what_was_written_by_a_clock_that_was_ahead_is_written_over(stack):
    wanted = settings.read(stores.Settings, settings.environ(stack.env))
    put = (
        "INSERT INTO vigie.totals (period, dimension, value, users, age_sum) VALUES ('1999-01-01', 'all', 'all', %s, 1)"
    )
    for users, ahead_s in ((1, 3600), (2, 0)):
        session = stores.cassandra(wanted)
        session.timestamp_generator = lambda ahead_s=ahead_s: int((time.time() + ahead_s) * 1e6)
        session.execute(put, (users,))
    there = session.execute("SELECT users FROM vigie.totals WHERE period='1999-01-01'").one().users
    session.execute("DELETE FROM vigie.totals WHERE period='1999-01-01'")
    assert there == 2


@contextmanager
def relay(host: str, port: int) -> Iterator[None]:
    """Whoever connects to this host is with the node on 127.0.0.1; at the end all of them are cut off."""
    pairs: list[socket.socket] = []

    def pump(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while some := one.recv(65_536):
                other.sendall(some)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                one, _ = listener.accept()
                other = socket.create_connection(("127.0.0.1", port))
                pairs.extend((one, other))
                for way in ((one, other), (other, one)):
                    threading.Thread(target=pump, args=way, daemon=True).start()

    listener = socket.create_server((host, port))
    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for one in pairs:
            one.close()


def test_a_node_that_comes_back_with_another_address_is_found_by_its_name(stack, monkeypatch):
    there, looked_up = "127.0.0.2", socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *more, **how: looked_up(there if host == "moves" else host, *more, **how)
    )
    wanted = settings.read(stores.Settings, settings.environ(stack.env) | {"VIGIE_CASSANDRA_HOSTS": "moves"})
    with relay(there, wanted.cassandra_port):
        session = stores.cassandra(wanted)
        assert session.execute("SELECT release_version FROM system.local").one()
    try:
        with pytest.raises((NoHostAvailable, DriverException)):
            session.execute("SELECT release_version FROM system.local")
        there = "127.0.0.1"

        def answers() -> bool:
            with suppress(NoHostAvailable, DriverException):
                return bool(session.execute("SELECT release_version FROM system.local").one())
            return False

        stack.until(answers, limit_s=20)
    finally:
        session.cluster.shutdown()


def test_retention_removes_users_of_days_that_are_over_and_nobody_else(stack):
    old = documents("old", datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC))
    kept = documents("kept", datetime(2000, 1, 1, tzinfo=UTC))
    ids = [one["_id"] for one in kept]
    with stack.mongo() as client:
        raw.insert(client[DATABASE], [*old, *kept])
        tombstone = {"_id": "forgotten long ago", "appended_at": old[0]["appended_at"], FORGOTTEN_AT: datetime.now(UTC)}
        client[DATABASE][USERS].insert_one(tombstone)
        store = access.Mongo(mongo_uri=f"mongodb://127.0.0.1:{stack.env['VIGIE_MONGO_PORT']}")
        assert retention.forget(store, date(2000, 1, 1)) == 20
        assert {one["_id"] for one in client[DATABASE][USERS].find({"_id": {"$in": ids}})} == set(ids)
        ids.append(tombstone["_id"])
        assert client[DATABASE][USERS].delete_many({"_id": {"$in": ids}}).deleted_count == len(kept) + 1
