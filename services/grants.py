"""
Who may do what: the users of Kafka, MongoDB and Cassandra, each with the rights of its work and no more.

`python -m services.grants`, as the stores' administrators, makes what is missing, gives every user the password of its
file (`services.secrets`), and takes back what is not in RIGHTS and ROLES. It may be run again at any time: after a
password was made anew, or after an update. A store whose user is not set asks nobody, and is left as it is.

    Refused     a store does not do what was asked; the text says what, and holds no password
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cassandra import AuthenticationFailed, DriverException
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster, NoHostAvailable, Session
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from observability import access, logs, retry, settings
from services import secrets, topics
from services.contract import DEAD_LETTERS
from services.contract import USERS as TOPIC
from services.secrets import ADMIN, CASSANDRA, EXPORTER, INGEST, KAFKA, LANES, MONGO, READER
from spark.contract import DATABASE, GROUPS, KEYSPACE, KEYSPACE_CQL

log = logs.Log(__name__)

DEFAULT = "cassandra"  # the super-user that a new Cassandra has, with its own name as password
CLUSTER = "kafka-cluster"  # Kafka's name for the cluster as a resource
ANY = "*"

READ, WRITE, DESCRIBE = ACLOperation.READ, ACLOperation.WRITE, ACLOperation.DESCRIBE
TOPICS, GROUP, OF_CLUSTER = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.CLUSTER

# Kafka, by user: what may be done with what. To read or to write is also to describe.
RIGHTS: Mapping[str, tuple[tuple[ResourceType, str, ACLOperation], ...]] = {
    INGEST: tuple((TOPICS, topic, does) for topic in (TOPIC, DEAD_LETTERS) for does in (READ, WRITE)),
    LANES: (
        (TOPICS, TOPIC, READ),
        (TOPICS, DEAD_LETTERS, WRITE),
        *((GROUP, group, READ) for group in GROUPS.values()),  # to commit what was read is to read
    ),
    READER: (
        (TOPICS, TOPIC, READ),
        (TOPICS, DEAD_LETTERS, READ),
        *((GROUP, group, DESCRIBE) for group in GROUPS.values()),
    ),
    EXPORTER: (
        (TOPICS, TOPIC, READ),  # lag in seconds is the age of a record
        (TOPICS, ANY, DESCRIBE),
        (TOPICS, ANY, ACLOperation.DESCRIBE_CONFIGS),
        (GROUP, ANY, DESCRIBE),
        (OF_CLUSTER, CLUSTER, DESCRIBE),
    ),
}
# MongoDB, by user: the built-in roles.
ROLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    INGEST: (("read", DATABASE),),  # a replay of dead letters asks who was forgotten
    LANES: (("readWrite", DATABASE),),
    READER: (("read", DATABASE),),
    EXPORTER: (("clusterMonitor", "admin"), ("read", DATABASE)),
}
# Cassandra, by role: what may be done in our keyspace.
PERMISSIONS: Mapping[str, tuple[str, ...]] = {LANES: ("SELECT", "MODIFY"), READER: ("SELECT",)}


@dataclass(frozen=True)
class Settings(secrets.Settings, access.Mongo, access.Cassandra):
    """The stores, as their administrators, and where the users' passwords lie."""

    cassandra_replication: int

    def password(self, store: str, user: str) -> str:
        return access.password("VIGIE_SECRETS_DIR", str(self.folder / secrets.name(store, user)))


class Refused(Exception):
    """A store does not do what was asked; the text says what, and holds no password."""


def acls() -> set[ACL]:
    """Every right that there is to be."""
    return {
        ACL(f"User:{user}", ANY, does, ACLPermissionType.ALLOW, ResourcePattern(what, name))
        for user, rights in RIGHTS.items()
        for what, name, does in rights
    }


def kafka(wanted: Settings) -> None:
    """
    Give Kafka's users their passwords and rights.

    Raises:
        KafkaError: the brokers do not answer, or `admin` is not let in.
        Refused: they do not do it.
    """
    admin = topics.opened(KafkaAdminClient, **wanted.kafka(), request_timeout_ms=10_000, bootstrap_timeout_ms=5_000)
    try:
        passwords = [
            UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, wanted.password(KAFKA, user).encode())
            for user in RIGHTS
        ]
        if wrong := {user: why for user, why in admin.alter_user_scram_credentials(passwords).items() if why}:
            raise Refused(f"Kafka's users: {wrong}")
        there = set(given(admin))
        for failed in admin.create_acls(list(acls() - there))["failed"]:
            raise Refused(f"Kafka's rights: {failed}")
        extra = [filter_of(one) for one in there - acls() if one.principal.removeprefix("User:") in RIGHTS]
        if extra:
            admin.delete_acls(extra)
        log.info("users of Kafka are there", users=list(RIGHTS), rights=len(acls()), taken_back=len(extra))
    finally:
        admin.close()


def given(admin: KafkaAdminClient) -> Iterator[ACL]:
    """Every right that somebody has."""
    every = ACLFilter(
        None,
        None,
        ACLOperation.ANY,
        ACLPermissionType.ANY,
        ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY),
    )
    found, _ = admin.describe_acls(every)
    yield from found


def filter_of(one: ACL) -> ACLFilter:
    return ACLFilter(one.principal, one.host, one.operation, one.permission_type, one.resource_pattern)


def mongo(wanted: Settings) -> None:
    """
    Give MongoDB's users their passwords and roles.

    Raises:
        PyMongoError: it does not answer, or the administrator is not let in.
    """
    with MongoClient[dict[str, Any]](**wanted.mongo()) as client:
        for user, roles in ROLES.items():
            rights = [{"role": role, "db": database} for role, database in roles]
            password = wanted.password(MONGO, user)
            known = client.admin.command("usersInfo", user)["users"]
            client.admin.command("updateUser" if known else "createUser", user, pwd=password, roles=rights)
    log.info("users of MongoDB are there", users=list(ROLES))


def cassandra(wanted: Settings) -> None:
    """
    Give Cassandra's roles their passwords and grants, and put `admin` in the place of its default super-user.

    Raises:
        NoHostAvailable, DriverException: no node answers, or neither `admin` nor the default is let in.
    """
    session = as_admin(wanted)
    try:
        session.execute(f"DROP ROLE IF EXISTS {DEFAULT}")
        session.execute(KEYSPACE_CQL.format(keyspace=KEYSPACE, replication=wanted.cassandra_replication))
        for role, permissions in PERMISSIONS.items():
            upsert(session, role, wanted.password(CASSANDRA, role), superuser=False)
            there = {(row.permission, row.resource.strip("<>")) for row in listed(session, "ALL PERMISSIONS", role)}
            right = {(permission, f"keyspace {KEYSPACE}") for permission in permissions}
            for more, what in right - there:
                session.execute(f"GRANT {more} ON {what} TO {role}")
            for less, what in there - right:  # also of a table, or of all keyspaces
                session.execute(f"REVOKE {less} ON {what} FROM {role}")
            for other in {row.role for row in listed(session, "ROLES", role)} - {role}:
                session.execute(f"REVOKE {other} FROM {role}")
    finally:
        session.cluster.shutdown()
    log.info("roles of Cassandra are there", roles=[ADMIN, *PERMISSIONS])


def listed(session: Session, what: str, role: str) -> Iterator[Any]:
    """The rows of what was given to this role itself."""
    yield from session.execute(f"LIST {what} OF {role} NORECURSIVE")


def as_admin(wanted: Settings) -> Session:
    """A session of `admin`, who is made by the default super-user where a new node does not know him yet."""
    try:
        return connected(wanted.cassandra())
    except NoHostAvailable as error:
        if not any(isinstance(one, AuthenticationFailed) for one in error.errors.values()):
            raise
    first = connected(wanted.cassandra() | {"auth_provider": PlainTextAuthProvider(DEFAULT, DEFAULT)})
    try:
        upsert(first, wanted.cassandra_user, wanted.password(CASSANDRA, ADMIN), superuser=True)
    finally:
        first.cluster.shutdown()
    return connected(wanted.cassandra())


def connected(options: dict[str, Any]) -> Session:
    cluster = Cluster(**options, connect_timeout=5, control_connection_timeout=5)
    try:
        return cluster.connect()
    except Exception:
        cluster.shutdown()
        raise


def upsert(session: Session, role: str, password: str, *, superuser: bool) -> None:
    """Make the role, or give the one that is there this password."""
    quoted = password.replace("'", "''")
    for verb in ("CREATE ROLE IF NOT EXISTS", "ALTER ROLE"):
        session.execute(f"{verb} {role} WITH PASSWORD = '{quoted}' AND LOGIN = true AND SUPERUSER = {superuser}")


Step = Callable[[Settings], None]


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(
        prog="python -m services.grants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(argv)
    logs.start("grants")
    try:
        wanted = settings.read(Settings, settings.environ())
        steps: list[tuple[str, str, Step, tuple[type[Exception], ...]]] = [
            ("kafka", wanted.kafka_user, kafka, (KafkaError,)),
            ("mongodb", wanted.mongo_user, mongo, (PyMongoError,)),
            ("cassandra", wanted.cassandra_user, cassandra, (NoHostAvailable, DriverException)),
        ]
        for store, user, step, errors in steps:
            if user:
                retry.policy(store, errors, attempts=12)(step, wanted)
            else:
                log.info("no user is set: it is taken to ask nobody", store=store)
    except (settings.WrongSetting, Refused) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
