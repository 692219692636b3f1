"""Brokers, Cassandra and the document store as `up` starts them: what was acknowledged outlives a kill."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pymongo
import pytest
import requests
from cassandra.cluster import Cluster, Session
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from pymongo.errors import BulkWriteError, DuplicateKeyError, ExecutionTimeout
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from dashboard import queries
from engines import builds, leftovers, ready, supervise
from engines.state import State
from observability import access, settings
from services import hops
from spark import stores

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

ENGINES = "kafka,cassandra,documents"


@dataclass(frozen=True)
class Stack:
    """Engines on ports of their own: the environment of every command, and where they answer."""

    env: dict[str, str]
    state: State
    bootstrap: list[str]
    cassandra: int
    mongo: str

    def run(self, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "engines", *words]
        return subprocess.run(command, env=self.env | changed, capture_output=True, text=True, timeout=240, check=False)

    def kill(self, name: str) -> None:
        """Kill a program with SIGKILL; the supervisor will start it again."""
        psutil.Process(supervise.pid(self.state, name)).kill()

    def pids(self) -> dict[str, int]:
        return {name: one.pid for name, one in supervise.processes(self.state).items() if one.pid}

    def metrics(self, name: str) -> dict[str, list[Sample]]:
        """{metric: its samples} of a broker (`kafka-1`) or of Cassandra, as their agents answer Prometheus."""
        port = int(self.env["VIGIE_CASSANDRA_JMX_PORT"])
        if name.startswith("kafka"):
            port = int(self.env["VIGIE_KAFKA_JMX_PORT"]) + int(name[-1]) - 1
        answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
        found: dict[str, list[Sample]] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                found.setdefault(sample.name, []).append(sample)
        return found

    def brokers(self) -> dict[int, dict[str, list[Sample]]]:
        """What each broker tells Prometheus now."""
        return {number: self.metrics(f"kafka-{number}") for number in (1, 2, 3)}

    def session(self) -> Session:
        cluster = Cluster(
            ["127.0.0.1"], port=self.cassandra, protocol_version=5, connect_timeout=30, control_connection_timeout=30
        )
        return cluster.connect()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, free_ports: Callable[[int], list[int]]) -> Iterator[Stack]:
    """Three brokers, Cassandra and the document store, and nothing else, in a folder whose name has a space."""
    ports = free_ports(13)
    state = State(tmp_path_factory.mktemp("with space"))
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    settings = {
        "VIGIE_STATE": str(state.root),
        "VIGIE_KAFKA_PORT": str(ports[0]),
        "VIGIE_KAFKA_CONTROLLER_PORT": str(ports[3]),
        "VIGIE_CASSANDRA_PORT": str(ports[6]),
        "VIGIE_CASSANDRA_STORAGE_PORT": str(ports[7]),
        "VIGIE_MONGO_PORT": str(ports[8]),
        "VIGIE_KAFKA_JMX_PORT": str(ports[9]),
        "VIGIE_CASSANDRA_JMX_PORT": str(ports[12]),
    }
    bootstrap = [f"127.0.0.1:{port}" for port in ports[:3]]
    made = Stack(outer | settings, state, bootstrap, ports[6], f"mongodb://127.0.0.1:{ports[8]}")
    done = made.run("up", "--only", ENGINES)
    assert done.returncode == 0, done.stdout + done.stderr
    yield made
    made.run("down")


def wait(so: Callable[[], bool], for_s: float = 90) -> None:
    ends = time.monotonic() + for_s
    while not so():
        assert time.monotonic() < ends, f"it did not come to be so in {for_s} s"
        time.sleep(0.1)


def test_a_topic_has_three_copies_and_takes_messages_while_a_broker_is_killed(stack: Stack):
    admin = KafkaAdminClient(bootstrap_servers=stack.bootstrap)
    admin.create_topics({"t": {"num_partitions": 3, "replication_factor": 3}}, wait_for_metadata=True)
    (topic,) = admin.describe_topics(["t"])
    assert [len(one["isr_nodes"]) for one in topic["partitions"]] == [3, 3, 3]
    producer = KafkaProducer(bootstrap_servers=stack.bootstrap, acks="all", enable_idempotence=True)
    before = stack.pids()["kafka-2"]
    stack.kill("kafka-2")
    for acknowledged in [producer.send("t", str(n).encode()) for n in range(30)]:
        acknowledged.get(timeout=60)
    wait(
        lambda: (
            stack.pids().get("kafka-2") not in (None, before)
            and ready.kafka(access.Kafka(kafka_bootstrap=",".join(stack.bootstrap)))
        )
    )
    consumer = KafkaConsumer(
        "t", bootstrap_servers=stack.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=9000
    )
    found = [next(consumer).value for _ in range(30)]
    assert sorted(found, key=int) == [str(n).encode() for n in range(30)]
    for client in (consumer, producer, admin):
        client.close()


def test_the_brokers_tell_prometheus_what_they_hold_and_who_leads(stack: Stack):
    wait(lambda: all(one["kafka_active_brokers"][0].value == 3 for one in stack.brokers().values()))
    wait(lambda: all(one["kafka_under_replicated_partitions"][0].value == 0 for one in stack.brokers().values()))
    told = list(stack.brokers().values())
    assert sum(one["kafka_active_controller"][0].value for one in told) == 1
    for one in told:
        assert one["kafka_log_size_bytes"]
        for name in ("kafka_under_min_isr_partitions", "kafka_offline_partitions", "kafka_offline_log_directories"):
            assert one[name][0].value == 0, name
        for name in ("kafka_messages_in_total", "kafka_bytes_out_total", "kafka_isr_shrinks_total", "kafka_raft_state"):
            assert one[name], name
        assert {sample.labels["request"] for sample in one["kafka_request_seconds"]} == {"Produce", "FetchConsumer"}
        assert {"heap", "nonheap"} <= {sample.labels["area"] for sample in one["jvm_memory_used_bytes"]}


def test_the_brokers_tell_prometheus_how_their_quorum_and_their_listeners_do(stack: Stack):
    wait(lambda: all(one["kafka_at_min_isr_partitions"][0].value == 0 for one in stack.brokers().values()))
    told = stack.brokers()
    leader = told[1]["kafka_raft_leader"][0].value
    for number, one in told.items():
        assert one["kafka_unclean_leader_elections_total"][0].value == 0
        assert 0 <= one["kafka_unpreferred_leaders"][0].value <= 3
        assert one["kafka_raft_vote"][0].value in (1, 2, 3, -1)
        for name in ("kafka_connections", "kafka_network_processor_idle_ratio"):
            assert {sample.labels["listener"] for sample in one[name]} == {"PLAINTEXT", "CONTROLLER"}
            assert len(one[name]) == 4, name
        assert all(0 <= sample.value < 1.1 for sample in one["kafka_network_processor_idle_ratio"])
        channel = {each.labels["direction"]: each.value for each in one["kafka_raft_channel_bytes_total"]}
        assert set(channel) == {"incoming", "outgoing"}
        for commit in ("kafka_raft_commit_avg_seconds", "kafka_raft_commit_max_seconds"):
            assert 0 <= one[commit][0].value < 60 if number == leader else one[commit], commit
        met = sum(sample.value for sample in one["kafka_connections"]) if number == leader else channel["incoming"]
        assert met > 0


def test_cassandra_tells_prometheus_how_long_requests_take(stack: Stack):
    session = stack.session()
    session.execute("SELECT release_version FROM system.local")
    session.cluster.shutdown()
    told = stack.metrics("cassandra")
    assert told["cassandra_nodes_up"][0].value == 1
    for name in ("seconds", "timeouts_total", "unavailables_total", "failures_total"):
        assert {sample.labels["request"] for sample in told[f"cassandra_request_{name}"]} == {"Read", "Write"}
    assert {sample.labels["message"] for sample in told["cassandra_dropped_messages_total"]} == {
        "MUTATION",
        "READ",
        "HINT",
    }
    for name in ("compactions_pending", "storage_load_bytes", "hints_total", "commitlog_pending", "stage_pending"):
        assert told[f"cassandra_{name}"], name


def test_rows_that_cassandra_acknowledged_outlive_a_kill(stack: Stack):
    session = stack.session()
    session.execute("CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    session.execute("CREATE TABLE k.t (id int PRIMARY KEY)")
    insert = session.prepare("INSERT INTO k.t (id) VALUES (?)")
    for n in range(200):
        session.execute(insert, [n])
    stack.kill("cassandra")
    session.cluster.shutdown()
    wait(lambda: not ready.cassandra("127.0.0.1", stack.cassandra))
    wait(lambda: ready.cassandra("127.0.0.1", stack.cassandra))
    session = stack.session()
    assert sorted(row.id for row in session.execute("SELECT id FROM k.t")) == list(range(200))
    session.cluster.shutdown()


def test_the_document_store_keeps_users_through_a_kill_and_refuses_one_twice(stack: Stack):
    def users() -> pymongo.collection.Collection:
        return pymongo.MongoClient(stack.mongo, serverSelectionTimeoutMS=30_000)["vigie"]["users"]

    users().insert_many([{"_id": n} for n in range(1000)], ordered=False)
    stack.kill("documents")
    wait(lambda: ready.documents(stack.mongo))
    with pytest.raises(BulkWriteError) as refused:
        users().insert_many([{"_id": n} for n in range(990, 1010)], ordered=False)
    assert {error["code"] for error in refused.value.details["writeErrors"]} == {11000}
    assert len(list(users().find({}, {"_id": 1}))) == 1010


def test_a_find_by_id_in_the_document_store_uses_its_index(stack: Stack):
    def plan() -> str:
        with closing(sqlite3.connect(stack.state.data / "embedded" / "vigie.sqlite")) as db:
            (table,) = db.execute("SELECT name FROM sqlite_master WHERE type='table' AND name LIKE 'users%'").fetchone()
            asked = f"EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE _ferretdb_sjson->'$._id' = '3'"
            return " ".join(row[3] for row in db.execute(asked))

    users = pymongo.MongoClient(stack.mongo)["vigie"]["users"]
    users.update_one({"_id": 3}, {"$set": {"found": True}}, upsert=True)
    wait(lambda: "USING INDEX" in plan())


def test_an_index_that_no_find_reads_holds_nothing_and_can_be_dropped(stack: Stack):
    def indexes() -> dict[str, int]:
        with closing(sqlite3.connect(stack.state.data / "embedded" / "indexed.sqlite")) as db:
            asked = "SELECT name, sql FROM sqlite_master WHERE type='index' AND sql LIKE '%people%'"
            return {name: " WHERE 0" in sql for name, sql in db.execute(asked)}

    with pymongo.MongoClient(stack.mongo) as client:
        people = client["indexed"]["people"]
        people.insert_many([{"_id": n, "age": n % 90, "mail": f"{n}@"} for n in range(300)])
        people.create_index([("age", 1), ("_id", -1)], name="by_age")
        people.create_index("mail", name="by_mail", unique=True)
        wait(lambda: sorted(indexes().values()) == [False, False, True])
        (unread,) = (name for name, empty in indexes().items() if empty)
        assert unread.endswith("_by_age")
        assert people.count_documents({"age": 7}) == 4
        with pytest.raises(DuplicateKeyError):
            people.insert_one({"_id": 300, "mail": "7@"})
        people.drop_index("by_age")
        assert set(people.index_information()) == {"_id_", "by_mail"}
        wait(lambda: sorted(indexes().values()) == [False, False])


def test_a_count_of_the_document_store_reads_an_index_and_is_exact(stack: Stack):
    def indexed(name: str) -> bool:
        with closing(sqlite3.connect(stack.state.data / "embedded" / "counting.sqlite")) as db:
            (table,) = db.execute("SELECT name FROM sqlite_master WHERE tbl_name LIKE ?", (f"{name}_%",)).fetchone()
            asked = "EXPLAIN QUERY PLAN SELECT SUM(ncell) FROM dbstat WHERE name = ? AND pagetype = 'leaf'"
            with suppress(sqlite3.OperationalError):  # there is no such view yet
                plan = " ".join(row[3] for row in db.execute(asked, (table,)))
                return f"SCAN {table} USING COVERING INDEX" in plan
        return False

    with pymongo.MongoClient(stack.mongo) as client:
        for name in ("first", "later"):  # a collection may come when the others are there
            one = client["counting"][name]
            one.insert_many([{"_id": n} for n in range(1234)])
            wait(lambda name=name: indexed(name))
            one.delete_many({"_id": {"$lt": 34}})
            assert [found["count"] for found in one.aggregate([{"$collStats": {"count": {}}}])] == [1200]


def test_a_collection_whose_index_on_id_was_never_made_is_made_anew(stack: Stack, monkeypatch: pytest.MonkeyPatch):
    """As when the server is killed in the first second of its life; it would take everybody twice."""
    monkeypatch.setattr(stores, "DATABASE", "half_made")
    with pymongo.MongoClient(stack.mongo, serverSelectionTimeoutMS=30_000) as client:
        users = client["half_made"]["users"]
        client["half_made"].create_collection("users")
        with closing(sqlite3.connect(stack.state.data / "embedded" / "half_made.sqlite", timeout=10)) as db:
            wait(lambda: [sql for (sql,) in db.execute("SELECT sql FROM sqlite_master") if sql and "'$._id'" in sql])
            (index,) = db.execute("SELECT name FROM sqlite_master WHERE type='index' AND name LIKE 'users%'").fetchone()
            with db:
                db.execute(f"DROP INDEX {index}")
                db.execute("UPDATE _ferretdb_collections SET settings=json_set(settings, '$.indexes', json('[]'))")
        stack.kill("documents")
        wait(lambda: ready.documents(stack.mongo))
        assert not users.index_information()
        wanted = settings.read(stores.Settings, settings.environ(stack.env))
        stores.make_collections(replace(wanted, mongo_uri=stack.mongo))
        users.insert_one({"_id": "once"})
        with pytest.raises(DuplicateKeyError):
            users.insert_one({"_id": "once"})


class Asked(CommandListener):
    """The aggregates that a client has sent."""

    def __init__(self) -> None:
        self.commands: list[Mapping[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.commands += [event.command] if event.command_name == "aggregate" else []

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


def test_the_document_store_gives_up_a_question_with_the_one_who_asked(stack: Stack):
    """Else each question that is asked again would run beside the ones before, until the server does nothing else."""
    asked = Asked()
    with pymongo.MongoClient(stack.mongo, event_listeners=[asked]) as client:
        hops.documents(client["scratch"], 7)
        queries.stored(client["scratch"], 8)
        assert [one["maxTimeMS"] for one in asked.commands] == [7000, 8000]
        many, for_nobody = client["scratch"]["many"], [{"$match": {"numbers": -1}}]
        for _ in range(8):
            many.insert_many([{"numbers": list(range(200))} for _ in range(500)])
        began = time.monotonic()
        assert list(many.aggregate(for_nobody)) == []
        took = time.monotonic() - began
        with pytest.raises(ExecutionTimeout):
            list(many.aggregate(for_nobody, maxTimeMS=int(took / 8 * 1000)))
        server = psutil.Process(stack.pids()["documents"])
        before = server.cpu_times()
        time.sleep(took / 2)
        after = server.cpu_times()
        client.drop_database("scratch")
    assert after.user + after.system - before.user - before.system < took / 8


def test_a_second_start_changes_nothing_and_other_settings_are_refused(stack: Stack):
    before = stack.pids()
    again = stack.run("up", "--only", ENGINES)
    assert again.returncode == 0, again.stdout
    assert "it is running already" in again.stdout
    other = stack.run("up", "--only", ENGINES, VIGIE_KAFKA_HEAP_MB="300")
    assert other.returncode == 1
    assert "VIGIE_KAFKA_HEAP_MB=300 (runs with 384). make down, then make up" in other.stdout
    assert stack.pids() == before


def test_no_temporary_file_is_outside_the_state_folder(stack: Stack):
    held = [Path(file.path) for one in leftovers.marked(stack.state.root) for file in one.open_files()]
    temporary = [file for file in held if file.is_relative_to(tempfile.gettempdir())]
    ours = (stack.state.root, builds.cache(os.environ), settings.ROOT)  # a clone or a cache may lie there too
    assert [file for file in temporary if not any(file.is_relative_to(place) for place in ours)] == []


def test_down_leaves_no_process_no_port_and_no_file_and_the_next_up_finds_the_data(stack: Stack):
    began = time.monotonic()
    done = stack.run("down")
    assert done.returncode == 0, done.stdout
    assert time.monotonic() - began < 30
    assert leftovers.marked(stack.state.root) == []
    agents = [int(stack.env[name]) for name in ("VIGIE_KAFKA_JMX_PORT", "VIGIE_CASSANDRA_JMX_PORT")]
    ports = agents + [int(one.rsplit(":", 1)[1]) for one in (*stack.bootstrap, stack.mongo)]
    assert not [port for port in (*ports, stack.cassandra) if ready.port("127.0.0.1", port)]
    assert sorted(one.name for one in stack.state.root.iterdir()) == ["data", "lock", "logs"]
    again = stack.run("up", "--only", "documents")
    assert again.returncode == 0, again.stdout
    assert pymongo.MongoClient(stack.mongo)["vigie"]["users"].count_documents({}) == 1010
    assert list(stack.pids()) == ["documents"]


def test_data_of_three_brokers_is_not_started_as_one(stack: Stack):
    stack.run("down")
    refused = stack.run("up", "--only", ENGINES, VIGIE_BROKERS="1")
    assert refused.returncode == 1
    assert "make up BROKERS=3" in refused.stdout
    assert leftovers.marked(stack.state.root) == []
