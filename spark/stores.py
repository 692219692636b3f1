"""
The stores' shape: keyspace, tables, collections, made once. `python -m spark.stores` makes what is missing.

    SchemaMismatch      the stores were made by another version; nothing was changed
"""

import argparse
import sys
from dataclasses import dataclass, field
from typing import Annotated

from cassandra import ConsistencyLevel, DriverException
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import ConstantReconnectionPolicy, RoundRobinPolicy
from msgspec import Meta
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, PyMongoError

from observability import access, logs, retry, settings
from services.contract import held_hours
from spark.contract import (
    CANARIES,
    DATABASE,
    FORGOTTEN,
    KEYSPACE,
    KEYSPACE_CQL,
    LEDGER,
    NEWEST_USERS,
    SCHEMA_VERSION,
    TABLES,
    USERS,
)

log = logs.Log(__name__)

DAY_S = 86_400
NEWEST_FIRST = [("fetched_at", -1), ("_id", -1)]  # the order in which the pages show users
INDEXES = ([("appended_at", 1)], NEWEST_FIRST, [("location.country", 1), *NEWEST_FIRST])  # of users


class SchemaMismatch(Exception):
    """The stores were made by another version of this code; the text says which."""


@dataclass(frozen=True)
class Settings(access.Mongo, access.Cassandra):
    """Where the stores are and how they are kept."""

    cassandra_replication: int
    cassandra_consistency: str
    minutes_days: Annotated[int, Meta(ge=1)] = field(metadata={"key": "VIGIE_MINUTES_RETENTION_DAYS"})
    users_days: Annotated[int, Meta(ge=0)] = field(metadata={"key": "VIGIE_USERS_RETENTION_DAYS"})
    topic_hours: int = field(metadata={"key": "VIGIE_TOPIC_RETENTION_HOURS"})


def cassandra(wanted: Settings) -> Session:
    """
    Open a session that finds its nodes again by itself; close it with `session.cluster.shutdown()`.

    Raises:
        NoHostAvailable: no node answers.
    """
    profile = ExecutionProfile(
        load_balancing_policy=RoundRobinPolicy(),
        consistency_level=ConsistencyLevel.name_to_value[wanted.cassandra_consistency],
        request_timeout=10,
    )
    cluster = Cluster(
        **wanted.cassandra(),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(1.0, None),
        connect_timeout=5,
        control_connection_timeout=5,
        idle_heartbeat_interval=5,
        idle_heartbeat_timeout=5,
    )
    try:
        session = cluster.connect()
    except Exception:
        cluster.shutdown()
        raise
    session.use_client_timestamp = False  # of two writes the later one counts, also if our clock was ahead before
    return session


def make_tables(wanted: Settings) -> None:
    """
    Make the keyspace and the tables that are missing.

    Raises:
        SchemaMismatch: tables of another version are there.
        NoHostAvailable, DriverException: Cassandra is not there; the same call may be made again.
    """
    session = cassandra(wanted)
    try:
        session.execute(KEYSPACE_CQL.format(keyspace=KEYSPACE, replication=wanted.cassandra_replication))
        for table in TABLES:
            session.execute(table.format(keyspace=KEYSPACE, minutes_ttl_s=wanted.minutes_days * DAY_S))
        found = session.execute(f"SELECT version FROM {KEYSPACE}.schema_version WHERE name='stats'").one()
        if found and found.version != SCHEMA_VERSION:
            raise SchemaMismatch(f"keyspace {KEYSPACE} has version {found.version}; this code knows {SCHEMA_VERSION}")
        session.execute(f"INSERT INTO {KEYSPACE}.schema_version (name, version) VALUES ('stats', {SCHEMA_VERSION})")
    finally:
        session.cluster.shutdown()
    log.info("tables are there", keyspace=KEYSPACE)


def make_collections(wanted: Settings) -> None:
    """
    Make the collections and indexes that are missing.

    Raises:
        SchemaMismatch: collections of another version are there.
        PyMongoError: MongoDB is not there; the same call may be made again.
    """
    with MongoClient[dict[str, object]](**wanted.mongo()) as client:
        database = client[DATABASE]
        for name in (USERS, NEWEST_USERS, CANARIES, LEDGER, FORGOTTEN):
            made(database, name)
        for index in INDEXES:
            database[USERS].create_index(index)
        found = database["schema_version"].find_one({"_id": "users"})
        if found and found["version"] != SCHEMA_VERSION:
            raise SchemaMismatch(
                f"database {DATABASE} has version {found['version']}; this code knows {SCHEMA_VERSION}"
            )
        database["schema_version"].replace_one({"_id": "users"}, {"version": SCHEMA_VERSION}, upsert=True)
    log.info("collections are there", database=DATABASE)


def made(database: Database[dict[str, object]], name: str) -> None:
    """Make a collection, anew if the embedded server was killed before its index on `_id`: nobody was written yet."""
    try:
        database.create_collection(name)
    except CollectionInvalid:
        if "_id_" not in database[name].index_information() and database[name].find_one() is None:
            database.drop_collection(name)
            database.create_collection(name)


def check(wanted: Settings) -> None:
    """
    Refuse retentions under which a topic that is read again would make numbers wrong, and what is no consistency level.

    Raises:
        WrongSetting: minutes or users would be forgotten before their topic is; no such consistency level.
    """
    held = held_hours(wanted.topic_hours)
    if wanted.minutes_days * 24 <= held + 24:
        raise settings.WrongSetting(
            f"VIGIE_MINUTES_RETENTION_DAYS={wanted.minutes_days} must be longer than the {held} hours that a topic of "
            f"VIGIE_TOPIC_RETENTION_HOURS={wanted.topic_hours} may hold a message, and a day: a lane that reads the "
            "topic again sums the minutes that are stored of its days"
        )
    if wanted.users_days and wanted.users_days * 24 <= held:
        raise settings.WrongSetting(
            f"VIGIE_USERS_RETENTION_DAYS={wanted.users_days} must be 0 (for ever) or longer than the {held} hours that "
            f"a topic of VIGIE_TOPIC_RETENTION_HOURS={wanted.topic_hours} may hold a message: a lane that reads the "
            "topic again would store anew who was removed"
        )
    if wanted.cassandra_consistency not in ConsistencyLevel.name_to_value:
        raise settings.WrongSetting(
            f"VIGIE_CASSANDRA_CONSISTENCY={wanted.cassandra_consistency!r}: "
            f"one of {', '.join(ConsistencyLevel.name_to_value)}"
        )


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m spark.stores", description=__doc__).parse_args(argv)
    logs.start("stores")
    try:
        wanted = settings.read(Settings, settings.environ())
        check(wanted)
    except settings.WrongSetting as error:
        print(error, file=sys.stderr)
        return 2
    try:
        retry.policy("cassandra", (NoHostAvailable, DriverException), attempts=12)(make_tables, wanted)
        retry.policy("mongodb", PyMongoError, attempts=12)(make_collections, wanted)
    except SchemaMismatch as error:
        log.error("the stores are of another version", reason=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
