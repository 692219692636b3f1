"""Real brokers and a real Cassandra that ask who is there: each may do its work, and nothing else; nobody else may."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from cassandra import AuthenticationFailed, Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import NoHostAvailable, Session
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType
from kafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
)
from kafka.structs import OffsetAndMetadata
from py4j.protocol import Py4JError

from dashboard.stores import Cassandra
from engines import brokers, builds, config, doors, jvm, ready, ring, tools
from engines.config import Config
from engines.state import State
from observability import access, logs, settings
from services import cluster, exporter, grants, hops, secrets, topics
from services.contract import DEAD_LETTERS, USERS
from services.secrets import ADMIN, EXPORTER, INGEST, LANES, READER
from spark import progress, session, stores
from spark.contract import GROUPS, KEYSPACE, RAW

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

SSL, PLAIN = "SASL_SSL", "SASL_PLAINTEXT"
PATIENCE_S = 60
REFUSED = "AuthorizationFailed"


@dataclass(frozen=True)
class Doors:
    """A broker that asks over TLS, one that asks without, and a Cassandra that asks; where their passwords lie."""

    env: dict[str, str]
    state: State
    folder: Path
    tls: int
    plain: int
    processes: dict[str, subprocess.Popen[bytes]]

    def settings(self, user: str, security: str = SSL, **changed: str) -> dict[str, str]:
        """The environment of a process that is `user` everywhere (as the secrets are made for it)."""
        named = {
            "VIGIE_KAFKA_BOOTSTRAP": f"127.0.0.1:{self.tls if security == SSL else self.plain}",
            "VIGIE_KAFKA_SECURITY": security,
            "VIGIE_KAFKA_CA_FILE": str(self.folder / "tls" / "ca.pem"),
        }
        for store in ("KAFKA", "CASSANDRA"):
            if user in secrets.USERS[store.lower()]:
                named[f"VIGIE_{store}_USER"] = user
                named[f"VIGIE_{store}_PASSWORD_FILE"] = str(self.folder / secrets.name(store.lower(), user))
        return settings.environ(self.env | named | changed, running=False)

    def kafka(self, user: str, security: str = SSL, **changed: str) -> access.Kafka:
        return settings.read(access.Kafka, self.settings(user, security, **changed))

    def cassandra(self, user: str, **changed: str) -> access.Cassandra:
        return settings.read(access.Cassandra, self.settings(user, **changed))

    def run(self, module: str, user: str, security: str = SSL) -> subprocess.CompletedProcess[str]:
        env = self.settings(user, security)
        command = [sys.executable, "-m", module]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def wait(so: Callable[[], bool], for_s: float = PATIENCE_S) -> None:
    ends = time.monotonic() + for_s
    while not so():
        assert time.monotonic() < ends, f"it did not come to be so in {for_s} s"
        time.sleep(0.1)


def broker(java: str, env: dict[str, str], state: State, security: str, folder: Path) -> Callable[[], Any]:
    """Begin to format a broker; what is returned starts it."""
    state.make()
    conf = settings.read(Config, config.environ(env | {"VIGIE_STATE": str(state.root)}, running=False))
    lines = doors.kafka(security, folder, conf.host, conf.kafka_port, conf.kafka_controller_port)
    brokers.file(state, 1).write_text(brokers.properties(conf, state, 1) + lines)
    tool = (*jvm.command(java, 128, state), "-cp", brokers.classpath(), "kafka.tools.StorageTool", "format")
    words = ("--cluster-id", brokers.new_cluster(), "--config", str(brokers.file(state, 1)), f"@{folder}/kafka_format")
    formatting = subprocess.Popen([*tool, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def start() -> subprocess.Popen[bytes]:
        said, _ = formatting.communicate(timeout=PATIENCE_S)
        assert formatting.returncode == 0, said.decode()
        with state.log("kafka-1").open("wb") as log:
            return subprocess.Popen(brokers.command(conf, state, java, 1), stdout=log, stderr=log)

    return start


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory, free_ports: Callable[[int], list[int]]) -> Iterator[Doors]:
    """The three engines, with users and rights as `services.grants` makes them, and topics and tables."""
    root, ports = tmp_path_factory.mktemp("with space"), free_ports(7)
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    env = outer | {
        "VIGIE_BROKERS": "1",
        "VIGIE_WATCH": "0",
        "VIGIE_STATE": str(root),
        "VIGIE_KAFKA_PORT": str(ports[0]),
        "VIGIE_KAFKA_CONTROLLER_PORT": str(ports[1]),
        "VIGIE_CASSANDRA_PORT": str(ports[4]),
        "VIGIE_CASSANDRA_STORAGE_PORT": str(ports[5]),
        "VIGIE_SPARK_UI_PORT": str(ports[6]),
        "VIGIE_SPARK_JARS": str(builds.named("spark")),
        "VIGIE_PARTITIONS": "1",
        "VIGIE_OTLP_ENDPOINT": "off",
        "VIGIE_CASSANDRA_CONSISTENCY": "ONE",
    }
    folder = root / "secrets"
    secrets.make(folder, ["127.0.0.1"])
    java = tools.java(env)
    assert java is not None
    other = {"VIGIE_KAFKA_PORT": str(ports[2]), "VIGIE_KAFKA_CONTROLLER_PORT": str(ports[3])}
    begun = [
        broker(java.home, env, State(root / SSL), SSL, folder),
        broker(java.home, env | other, State(root / PLAIN), PLAIN, folder),
    ]
    state = State(root)
    state.make()
    conf = settings.read(Config, config.environ(env, running=False))
    ring.prepare(conf, state)
    with (state.config / "cassandra.yaml").open("a") as yaml:
        yaml.write(doors.cassandra())
    command = ring.command(conf, state, java.home)
    at_once = (*command[:-1], "-Dcassandra.superuser_setup_delay_ms=0", command[-1])
    with state.log("cassandra").open("wb") as log:
        processes = {"cassandra": subprocess.Popen(at_once, stdout=log, stderr=log)}
    try:
        processes |= dict(zip((SSL, PLAIN), (start() for start in begun), strict=True))
        made = Doors(env, state, folder, ports[0], ports[2], processes)
        wait(lambda: ready.port("127.0.0.1", made.tls) and ready.port("127.0.0.1", made.plain))
        wait(lambda: ready.cassandra("127.0.0.1", ports[4]))
        for module in ("services.grants", "services.topics"):
            done = made.run(module, ADMIN)
            assert done.returncode == 0, done.stdout + done.stderr
        stores.make_tables(settings.read(stores.Settings, made.settings(ADMIN)))
        yield made
    finally:
        for process in processes.values():
            process.kill()
            process.wait(20)


def send(brokers: access.Kafka, topic: str) -> None:
    producer = KafkaProducer(**brokers.kafka(), acks="all", enable_idempotence=True, max_block_ms=5_000)
    with closing(producer):
        producer.send(topic, b"{}", b"key").get(timeout=10)


def read(brokers: access.Kafka, topic: str) -> int:
    """How many messages a reader of no group finds."""
    with closing(topics.consumer(brokers)) as reader:
        places = topics.partitions(reader, topic)
        return len(list(topics.records(reader, topics.begins(reader, places), topics.ends(reader, places))))


def commit(brokers: access.Kafka, group: str) -> None:
    with closing(KafkaConsumer(**brokers.kafka(), group_id=group, enable_auto_commit=False)) as reader:
        reader.assign([TopicPartition(USERS, 0)])
        reader.commit({TopicPartition(USERS, 0): OffsetAndMetadata(0, "", -1)})


def test_ingestion_writes_and_reads_both_topics_and_does_nothing_else(asking: Doors):
    ingest = asking.kafka(INGEST)
    for topic in (USERS, DEAD_LETTERS):
        before = read(ingest, topic)
        send(ingest, topic)
        assert read(ingest, topic) == before + 1
    with pytest.raises(KafkaError, match=REFUSED):
        commit(ingest, GROUPS[RAW])


def test_the_lanes_read_users_set_aside_and_commit_and_do_not_write_users(asking: Doors):
    lanes = asking.kafka(LANES)
    read(lanes, USERS)
    send(lanes, DEAD_LETTERS)
    commit(lanes, GROUPS[RAW])
    assert hops.committed(lanes)[RAW] == {TopicPartition(USERS, 0): 0}
    with pytest.raises(KafkaError, match=REFUSED):
        send(lanes, USERS)
    with pytest.raises(KafkaError, match=REFUSED):
        read(lanes, DEAD_LETTERS)
    with pytest.raises(KafkaError, match=REFUSED):
        commit(lanes, "another")


def test_a_reader_reads_topics_and_offsets_and_writes_nothing(asking: Doors):
    reader = asking.kafka(READER)
    read(reader, USERS)
    read(reader, DEAD_LETTERS)
    assert set(hops.committed(reader)) == set(GROUPS)
    for topic in (USERS, DEAD_LETTERS):
        with pytest.raises(KafkaError, match=REFUSED):
            send(reader, topic)
    with pytest.raises(KafkaError, match=REFUSED):
        commit(reader, GROUPS[RAW])


def test_the_exporter_sees_the_whole_cluster_and_writes_nothing(asking: Doors):
    commit(asking.kafka(LANES), GROUPS[RAW])
    watcher = exporter.Exporter(settings.read(exporter.Settings, asking.settings(EXPORTER)))
    watcher.round()
    seen = watcher.seen
    assert (seen.silent, seen.brokers) == ("", 1)
    assert {USERS, DEAD_LETTERS, cluster.INTERNAL} <= seen.health.keys()
    assert GROUPS[RAW] in seen.behind
    with pytest.raises(KafkaError, match=REFUSED):
        send(asking.kafka(EXPORTER), USERS)


@pytest.mark.parametrize("user", [INGEST, LANES, READER, EXPORTER])
def test_nobody_but_the_administrator_makes_topics_or_gives_rights(asking: Doors, user):
    mine = ACL(f"User:{user}", "*", ACLOperation.ALL, ACLPermissionType.ALLOW, ResourcePattern(ResourceType.TOPIC, "*"))
    with closing(KafkaAdminClient(**asking.kafka(user).kafka(), request_timeout_ms=5_000)) as admin:
        with pytest.raises(KafkaError, match=REFUSED):
            admin.create_topics({"mine": {"num_partitions": 1, "replication_factor": 1}})
        assert admin.create_acls([mine])["failed"] == [ClusterAuthorizationFailedError]
        with pytest.raises(KafkaError):
            admin.delete_topics([USERS])


def login(brokers: access.Kafka, **instead: Any) -> int:
    """How many brokers a client sees; it may not wait long."""
    options = brokers.kafka() | {"request_timeout_ms": 3_000, "bootstrap_timeout_ms": 3_000} | instead
    with closing(topics.opened(KafkaAdminClient, **options)) as admin:
        return len(admin.describe_cluster()["brokers"])


@pytest.fixture
def told(caplog) -> Iterator[pytest.LogCaptureFixture]:
    """What Kafka's client says of its connections, whatever programs started in this process made of the loggers."""
    logger = logging.getLogger(logs.KAFKA_CONNECTIONS)
    caplog.set_level(logging.WARNING, logs.KAFKA_CONNECTIONS)
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.mark.parametrize("security", [SSL, PLAIN])
def test_a_login_needs_the_right_user_and_password_and_protocol(asking: Doors, security, told):
    admin = asking.kafka(ADMIN, security)
    assert login(admin) == 1
    strangers: list[dict[str, Any]] = [
        {"sasl_plain_password": "wrong"},
        {"sasl_plain_username": "nobody"},
        {"security_protocol": PLAIN if security == SSL else SSL},
        {"security_protocol": "PLAINTEXT"},
        {"security_protocol": "SSL" if security == SSL else "PLAINTEXT"},
        {"sasl_mechanism": "PLAIN"},
    ]
    with ThreadPoolExecutor(len(strangers)) as pool:  # kafka-python tries until its time is over, whatever it is told
        refused = [pool.submit(login, admin, **wrong) for wrong in strangers]
        assert [type(one.exception()) for one in refused if not isinstance(one.exception(), KafkaError)] == []
    assert login(admin) == 1  # so it was not that the broker was slow
    if security == PLAIN:  # behind TLS the connection may end before it is read
        wait(lambda: told_why(admin, told))


def told_why(admin: access.Kafka, told: pytest.LogCaptureFixture) -> bool:
    """Whether what `logs.start` lets through says why a wrong password failed. On a busy machine a client may find the
    connection closed before it has read the broker's answer; it tries again, as programs do."""
    with pytest.raises(KafkaError):
        login(admin, sasl_plain_password="wrong")
    connections = [one.getMessage() for one in told.records if one.name == logs.KAFKA_CONNECTIONS]
    return any("SaslAuthenticationFailedError" in one for one in connections)


def test_a_broker_whose_certificate_was_signed_by_another_is_not_believed(asking: Doors, tmp_path):
    secrets.make(tmp_path, ["127.0.0.1"])
    with pytest.raises(KafkaError):
        login(asking.kafka(ADMIN, VIGIE_KAFKA_CA_FILE=str(tmp_path / "tls" / "ca.pem")))
    assert login(asking.kafka(ADMIN)) == 1


def test_rights_given_twice_are_the_same_and_one_too_many_is_taken_back(asking: Doors):
    wanted = settings.read(grants.Settings, asking.settings(ADMIN))
    extra = ACL(
        f"User:{READER}", "*", ACLOperation.WRITE, ACLPermissionType.ALLOW, ResourcePattern(ResourceType.TOPIC, USERS)
    )
    with closing(KafkaAdminClient(**wanted.kafka())) as admin:
        admin.create_acls([extra])
        wait(lambda: extra in set(grants.given(admin)))
        grants.kafka(wanted)
        wait(lambda: set(grants.given(admin)) == grants.acls())


def test_a_password_made_anew_is_the_one_that_counts(asking: Doors):
    file = asking.folder / secrets.name("kafka", READER)
    old = asking.kafka(READER).kafka()["sasl_plain_password"]
    file.unlink()
    secrets.make(asking.folder, ["127.0.0.1"])
    grants.kafka(settings.read(grants.Settings, asking.settings(ADMIN)))
    reader = asking.kafka(READER)
    assert read(reader, USERS) >= 0
    with pytest.raises(KafkaError):
        login(reader, sasl_plain_password=old)


def test_no_password_is_in_a_command_line_a_configuration_or_a_log(asking: Doors):
    passwords = [file.read_text() for file in asking.folder.glob("*_password")]
    for process in asking.processes.values():
        assert not any(one in " ".join(psutil.Process(process.pid).cmdline()) for one in passwords)
    written = [
        file
        for file in asking.state.root.rglob("*")
        if file.is_file() and (file.suffix in (".log", ".properties", ".yaml")) and asking.folder not in file.parents
    ]
    assert len(written) > 5
    for file in written:
        text = file.read_bytes()
        assert not [one for one in passwords if one.encode() in text], file


@contextmanager
def opened(store: access.Cassandra) -> Iterator[Session]:
    made = hops.cassandra(store)
    try:
        yield made
    finally:
        made.cluster.shutdown()


TOTAL = (
    f"INSERT INTO {KEYSPACE}.totals (period, dimension, value, users, age_sum) VALUES ('2026-11-24', 'x', 'x', 1, 1)"
)
BEYOND = (
    f"DROP TABLE {KEYSPACE}.totals",
    f"CREATE TABLE {KEYSPACE}.mine (id text PRIMARY KEY)",
    "CREATE ROLE mine",
    f"GRANT MODIFY ON KEYSPACE {KEYSPACE} TO {READER}",
    "SELECT role, salted_hash FROM system_auth.roles",
)


def test_the_lanes_role_writes_and_reads_and_changes_no_table(asking: Doors):
    with opened(asking.cassandra(LANES)) as lanes:
        lanes.execute(TOTAL)
        assert list(lanes.execute(f"SELECT users FROM {KEYSPACE}.totals WHERE period='2026-11-24'"))
        for refused in BEYOND:
            with pytest.raises(Unauthorized):
                lanes.execute(refused)


def test_the_readers_role_shows_the_page_and_writes_nothing(asking: Doors):
    page = Cassandra(asking.cassandra(READER))
    assert page.sums().all_time.users == 0
    page.close()
    with opened(asking.cassandra(READER)) as reader:
        for refused in (TOTAL, f"TRUNCATE {KEYSPACE}.totals", *BEYOND):
            with pytest.raises(Unauthorized):
                reader.execute(refused)


def test_cassandra_lets_nobody_in_without_a_password_and_its_default_super_user_is_gone(asking: Doors):
    known = asking.cassandra(ADMIN)
    strangers = [
        replace(known, cassandra_user="", cassandra_password_file=""),
        replace(known, cassandra_user="nobody"),
        replace(known, cassandra_password_file=str(asking.folder / secrets.name("cassandra", LANES))),
        replace(known, cassandra_user="cassandra"),
    ]
    for stranger in strangers:
        with pytest.raises(NoHostAvailable) as refused, opened(stranger):
            pass
        assert any(isinstance(one, AuthenticationFailed) for one in refused.value.errors.values())
    first = PlainTextAuthProvider("cassandra", "cassandra")
    with pytest.raises(NoHostAvailable):
        grants.connected(known.cassandra() | {"auth_provider": first})


def test_a_grant_too_many_is_taken_back_in_cassandra_and_a_new_password_counts(asking: Doors):
    wanted = settings.read(grants.Settings, asking.settings(ADMIN))
    with opened(wanted) as admin:
        for what in (f"KEYSPACE {KEYSPACE}", f"TABLE {KEYSPACE}.totals", "ALL KEYSPACES"):
            admin.execute(f"GRANT MODIFY ON {what} TO {READER}")
        admin.execute(f"GRANT {LANES} TO {READER}")
    file = asking.folder / secrets.name("cassandra", READER)
    file.unlink()
    secrets.make(asking.folder, ["127.0.0.1"])
    grants.cassandra(wanted)

    def refused() -> bool:  # what it knows of passwords and rights, a node keeps for two seconds
        try:
            with opened(asking.cassandra(READER)) as reader:
                reader.execute(TOTAL)
        except NoHostAvailable:
            return False
        except Unauthorized:
            return True
        return False

    wait(refused, 10)
    with opened(wanted) as admin:
        rights = grants.listed(admin, "ALL PERMISSIONS", READER)
        assert [(row.permission, row.resource) for row in rights] == [("SELECT", f"<keyspace {KEYSPACE}>")]
        assert {row.role for row in grants.listed(admin, "ROLES", READER)} <= {READER}


def test_spark_reads_and_commits_with_a_password_that_none_of_its_pages_shows(asking: Doors):
    send(asking.kafka(INGEST), USERS)
    wanted = settings.read(session.Settings, asking.settings(LANES))
    spark = session.start(wanted)
    try:
        found: list[int] = []
        query = (
            session.messages(spark, wanted)
            .writeStream.foreachBatch(lambda batch, _: found.append(batch.count()))
            .option("checkpointLocation", str(asking.state.root / "checkpoint"))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination(60)
        assert sum(found) == read(wanted, USERS)
        told = progress.Progress(spark._jvm, wanted)
        told._commit(GROUPS[RAW], {0: 1})
        assert told._committed(GROUPS[RAW]) == {0: 1}
        with pytest.raises(Py4JError, match="GroupAuthorizationException"):
            told._commit("another", {0: 1})
        page = str(spark.sparkContext.uiWebUrl)
        asked = [f"{page}/{path}/" for path in ("environment", "SQL", "jobs", "StreamingQuery")]
        app = f"{page}/api/v1/applications/{spark.sparkContext.applicationId}"
        asked += [f"{app}/environment", f"{app}/sql?details=true&planDescription=true", f"{app}/jobs"]
        for address in asked:
            answer = requests.get(address, timeout=20)
            assert answer.ok, address
            assert password(LANES, asking) not in answer.text
    finally:
        spark.stop()


def password(user: str, asking: Doors) -> str:
    return (asking.folder / secrets.name("kafka", user)).read_text()
