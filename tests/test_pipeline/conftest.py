"""The whole system, started by a user's own `up`, on ports and a state folder of its own, beside a running one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import RoundRobinPolicy
from kafka import KafkaProducer
from pymongo import MongoClient

from chaos import points
from engines import supervise, tail
from engines.state import State
from observability import access, settings
from services import hops, topics
from spark.contract import KEYSPACE, KILLED

PORTS = (
    "VIGIE_KAFKA_PORT 92",
    "VIGIE_KAFKA_CONTROLLER_PORT 192",
    "VIGIE_CASSANDRA_PORT 42",
    "VIGIE_CASSANDRA_STORAGE_PORT 10",
    "VIGIE_MONGO_PORT 17",
    "VIGIE_SIMULATOR_PORT 90",
    "VIGIE_SIMULATOR_ADMIN_PORT 91",
    "VIGIE_SPARK_UI_PORT 40",
    "VIGIE_DASHBOARD_PORT 101",
    "VIGIE_PROMETHEUS_PORT 110",
    "VIGIE_ALERTMANAGER_PORT 111",
    "VIGIE_JAEGER_PORT 112",
    "VIGIE_OTLP_PORT 113",
    "VIGIE_JAEGER_HEALTH_PORT 114",
    "VIGIE_JAEGER_GRPC_PORT 115",
    "VIGIE_JAEGER_METRICS_PORT 116",
    "VIGIE_SPANMETRICS_PORT 117",
    "VIGIE_INGEST_METRICS_PORT 120",
    "VIGIE_SPARK_METRICS_PORT 121",
    "VIGIE_DASHBOARD_METRICS_PORT 122",
    "VIGIE_AUDITOR_METRICS_PORT 123",
    "VIGIE_EXPORTER_METRICS_PORT 124",
    "VIGIE_SIMULATOR_METRICS_PORT 125",
    "VIGIE_KAFKA_JMX_PORT 130",
    "VIGIE_CASSANDRA_JMX_PORT 135",
    "VIGIE_WIRES_PORT 140",
)
RUN = {
    "VIGIE_SEED": "pipeline",
    "VIGIE_RATE": "25",  # an audit reads all users: more of them make every test slower
    "VIGIE_PAGE_SIZE": "20",
    "VIGIE_MAX_OFFSETS_PER_TRIGGER": "1000",  # a topic that is read again takes more than one batch
    "VIGIE_TRIGGER_MS": "1500",  # a batch costs about the same however few are in it
    "VIGIE_SIMULATOR_LIMIT_USERS": "0",
    "VIGIE_BUDGET_USERS": "0",
    "VIGIE_READ_TIMEOUT_S": "2",
    "VIGIE_CALL_TIMEOUT_S": "4",
}


@dataclass(frozen=True)
class Stack:
    """A running system: its environment, its state folder, and the ways to break it."""

    env: dict[str, str]
    state: State

    def run(self, *words: str, timeout_s: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m …` against this system."""
        return subprocess.run(
            [sys.executable, "-m", *words],
            env=self.env | settings,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def hops(self) -> dict[str, Any]:
        """The counts of every hop."""
        return asdict(hops.ask(settings.read(hops.Settings, settings.environ(self.env)))[0])

    def findings(self, patience_s: int = 90) -> list[dict[str, str]]:
        """What the audit says of every hop, in their order; its exit code says the same."""
        words = ("services.audit", "--json", "--patience", str(patience_s))
        done = self.run(*words, timeout_s=250)
        if done.returncode == 2:  # a hop that did not answer: nothing was compared
            done = self.run(*words, timeout_s=250)
        assert done.stdout, done.stderr
        findings = json.loads(done.stdout)
        assert done.returncode == (1 if any(one["differs"] for one in findings) else 0), done.stderr
        return findings

    def audit(self) -> dict[str, str]:
        """Audit every hop; {hop: what was counted}. Fails with the hops that differ and the ends of the logs."""
        findings = self.findings()
        assert [one for one in findings if one["differs"]] == [], self.ends_of_logs()
        return {one["hop"]: one["counted"] for one in findings}

    def pid(self, name: str) -> int:
        return supervise.pid(self.state, name)

    def kill(self, name: str) -> None:
        """`kill -9` of a program and of everything below it."""
        program = psutil.Process(self.pid(name))
        for process in [program, *program.children(recursive=True)]:
            if process.is_running():
                process.kill()

    def dies_at(self, point: str, death: str = KILLED) -> None:
        """Let the driver die at a point of its next batch, and wait until it is started again."""
        before = self.until(lambda: self.pid("spark"))
        points.arm(self.state, point, death)
        self.until(lambda: not points.armed(self.state), 90)
        self.until(lambda: self.pid("spark") not in (0, before))

    def signal(self, name: str, sign: signal.Signals) -> None:
        os.kill(self.pid(name), sign)

    def stop(self, name: str) -> None:
        supervise.stop(self.state, name)

    def start(self, name: str) -> None:
        supervise.start(self.state, name)

    def faults(self, faults: dict[str, Any]) -> None:
        address = f"http://127.0.0.1:{self.env['VIGIE_SIMULATOR_ADMIN_PORT']}/faults"
        requests.put(address, json=faults, timeout=5).raise_for_status()

    def log(self, name: str) -> str:
        return self.state.log(name).read_text(errors="replace")

    def ends_of_logs(self) -> str:
        """The last lines of what a failure may be about, and what runs."""
        ends = [f"--- {name}\n" + "\n".join(tail.last(self.state.log(name), 25)) for name in ("ingest", "spark")]
        return "\n".join([*ends, self.run("engines", "status").stdout])

    def send(
        self,
        topic: str,
        messages: list[tuple[bytes | None, bytes | None]],
        headers: list[dict[str, bytes]] | None = None,
    ) -> None:
        """Put (key, value) messages on a topic from outside, each with its headers."""
        producer = KafkaProducer(bootstrap_servers=f"127.0.0.1:{self.env['VIGIE_KAFKA_PORT']}", acks="all")
        for (key, value), named in zip(messages, headers or [{}] * len(messages), strict=True):
            producer.send(topic, value, key, list(named.items()))
        producer.flush(timeout=20)
        producer.close(timeout=5)

    def until(self, done: Callable[[], Any], limit_s: float = 60) -> Any:
        """Wait for what `done` returns to be true, and return it; fail after `limit_s` seconds."""
        ends = time.monotonic() + limit_s
        while True:
            found = None
            with suppress(requests.RequestException):  # a watcher that starts does not answer yet
                found = done()
            if found:
                return found
            assert time.monotonic() < ends, f"not within {limit_s} s"
            time.sleep(0.3)

    def grown(self, hop: str, by: int, limit_s: float = 90) -> None:
        """Wait until a hop has counted so many more."""
        before = self.hops()[hop] or 0
        self.until(lambda: (self.hops()[hop] or 0) >= before + by, limit_s)

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers now: one {metric, value} a series."""
        address = f"http://127.0.0.1:{self.env['VIGIE_PROMETHEUS_PORT']}/api/v1/query"
        said = requests.get(address, {"query": expression}, timeout=10).json()
        assert said["status"] == "success", f"{expression}: {said}"
        return said["data"]["result"]

    def firing(self) -> dict[str, list[dict[str, str]]]:
        """The labels of every alert that the Alertmanager has, by the alert's name."""
        address = f"http://127.0.0.1:{self.env['VIGIE_ALERTMANAGER_PORT']}/api/v2/alerts"
        found: dict[str, list[dict[str, str]]] = {}
        for one in requests.get(address, timeout=10).json():
            found.setdefault(one["labels"]["alertname"], []).append(one["labels"])
        return found

    def mongo(self) -> MongoClient[dict[str, Any]]:
        return MongoClient(f"mongodb://127.0.0.1:{self.env['VIGIE_MONGO_PORT']}", tz_aware=True)

    @contextmanager
    def cassandra(self) -> Iterator[Session]:
        """A client that is patient: beside another system the store may take seconds to tell its schema."""
        profile = ExecutionProfile(RoundRobinPolicy(), request_timeout=30)
        with Cluster(
            ["127.0.0.1"],
            int(self.env["VIGIE_CASSANDRA_PORT"]),
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            protocol_version=5,
            connect_timeout=30,
            control_connection_timeout=30,
        ) as cluster:
            yield cluster.connect(KEYSPACE)

    def messages(self, topic: str) -> list[Any]:
        """Every message that is on the topic now."""
        reader = topics.consumer(access.Kafka(kafka_bootstrap=f"127.0.0.1:{self.env['VIGIE_KAFKA_PORT']}"))
        places = topics.partitions(reader, topic)
        found = list(topics.records(reader, reader.beginning_offsets(places), reader.end_offsets(places)))
        reader.close()
        return found


@contextmanager
def running(first_port: int, **settings: str) -> Iterator[Stack]:
    """A whole system on ports from `first_port` up, brought up as a user does and taken down."""
    folder = Path(tempfile.mkdtemp(prefix="vigie-"))
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    ports = {name: str(first_port + int(number)) for name, number in map(str.split, PORTS)}
    made = Stack(outer | ports | RUN | settings | {"VIGIE_STATE": str(folder)}, State(folder))
    try:
        started = made.run("engines", "up", timeout_s=400)
        assert started.returncode == 0, started.stdout + started.stderr
        yield made
    finally:
        ended = made.run("engines", "down")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    shutil.rmtree(folder)


_shared = ExitStack()


def free_from(first_port: int) -> int:
    """The first of every 400th port whose next 200 nobody holds: other tests may run on this machine."""
    held = {one.laddr.port for one in psutil.net_connections("tcp") if one.laddr}
    return next(port for port in range(first_port, 32000, 400) if held.isdisjoint(range(port, port + 200)))


@pytest.fixture(scope="session")
def stack(worker_id: str) -> Iterator[Stack]:
    """The system that this process's tests share."""
    with _shared:
        yield _shared.enter_context(running(free_from(28000 if worker_id == "gw0" else 28200)))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """End the shared system after its last test: what follows has the processor for itself."""
    if nextitem is None or not nextitem.nodeid.startswith("tests/test_pipeline/"):
        _shared.close()


@pytest.fixture(scope="session")
def launched() -> Callable[..., AbstractContextManager[Stack]]:
    """`running`, for a test that needs a system of its own."""
    return running
