"""
`docker compose up` for real, with the images of docker-compose.offline.yml: `make test-compose`.

It needs a Docker engine, 8 GB and ten minutes, and runs beside another system: its project and ports are its own. A
process is killed from within its container, because Docker does not start again what `docker kill` has ended.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from observability.settings import ROOT
from tests.test_compose.conftest import program

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif("TEST_COMPOSE" not in os.environ, reason="only by make test-compose: it needs a Docker engine"),
]

FILES = ("docker-compose.yml", "docker-compose.offline.yml")
PORTS = {"DASHBOARD": 28501, "SPARK_UI": 24040, "PROMETHEUS": 29090, "ALERTMANAGER": 29393, "JAEGER": 26686}
JOBS = {"secrets", "grants", "replica-set", "topics", "tables"}
STORED = ("stored", "summed")
READY_S, KILLED_S = 240, 120

Yaml = dict[str, Any]


class System:
    """One project of Docker Compose."""

    def __init__(self) -> None:
        moved = {f"VIGIE_{name}_PORT": str(port) for name, port in PORTS.items()}
        socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
        there = Path(socket).is_socket()
        of_drill = {"DOCKER_SOCKET": socket, "DOCKER_GID": str(Path(socket).stat().st_gid)} if there else {}
        of_source = {"VIGIE_RATE": "60", "VIGIE_SIMULATOR_ADMIN_HOST": "simulator"}  # the rate: within its budget
        self.env = {**os.environ, **moved, **of_drill, **of_source}

    def compose(self, *words: str, timeout: float = 300, check: bool = True) -> str:
        options = [f"--file={file}" for file in FILES]
        done = subprocess.run(
            [*program(), *options, "--project-name=vigie-test", *words],
            cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{words}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def ask(self, service: str, *words: str, timeout: float = 120, check: bool = True) -> str:
        return self.compose("exec", "-T", service, *words, timeout=timeout, check=check)

    def containers(self) -> dict[str, Yaml]:
        lines = self.compose("ps", "--all", "--format=json").splitlines()
        return {one["Service"]: one for one in map(json.loads, lines)}

    def hops(self) -> dict[str, float]:
        said = self.ask("auditor", "python3", "-m", "services.hops", "--json", check=False)
        return {key: value or 0 for key, value in json.loads(said or "{}").items()}

    def up(self) -> None:
        self.compose("up", "--detach", "--no-build", "--quiet-pull")

    def started(self, service: str) -> str:
        found = self.compose("ps", "--format=json", "--all", service).strip()
        return docker("inspect", "--format={{.State.StartedAt}}", json.loads(found)["ID"])


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def until(so: Any, within_s: float, what: str) -> None:
    """Ask until it is so, every two seconds: a question takes most of one on a processor."""
    began = time.monotonic()
    while not so():
        assert time.monotonic() - began < within_s, f"{what}: not within {within_s} s"
        time.sleep(2)


def ready(system: System) -> bool:
    now = system.containers()
    return all(one["Health"] == "healthy" for name, one in now.items() if name not in JOBS)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """The system, up; its containers and volumes are gone afterwards."""
    one = System()
    one.compose("down", "--volumes", "--remove-orphans")
    try:
        yield one
    finally:
        one.compose("logs", "--no-color", "--tail=40", check=False)
        one.compose("down", "--volumes", "--remove-orphans")
        assert docker("ps", "--all", "--quiet", "--filter=label=com.docker.compose.project=vigie-test") == ""


def test_users_reach_both_stores_after_docker_compose_up(system: System):
    began = time.monotonic()
    system.up()
    created = time.monotonic() - began
    until(lambda: min(system.hops().get(name, 0) for name in STORED) > 0, READY_S, "users in both stores")
    took = time.monotonic() - began
    print(
        f"\nup returned after {created:.0f} s, users in both stores after {took:.0f} s; load {os.getloadavg()[0]:.0f}"
    )


def test_everything_becomes_ready_and_prometheus_finds_every_process(system: System):
    until(lambda: ready(system), READY_S, "every container healthy")

    def down() -> list[str]:
        address = f"http://127.0.0.1:{PORTS['PROMETHEUS']}/api/v1/targets"
        found = requests.get(address, timeout=5).json()["data"]["activeTargets"]
        return [one["labels"]["job"] for one in found if one["health"] != "up"] or ([] if found else ["all"])

    until(lambda: not down(), 60, "targets up")


def test_only_loopback_is_published_and_the_pages_answer_there(system: System):
    bound = {
        port["URL"] for one in system.containers().values() for port in one["Publishers"] or [] if port["PublishedPort"]
    }
    assert bound == {"127.0.0.1"}
    assert requests.get(f"http://127.0.0.1:{PORTS['DASHBOARD']}/_stcore/health", timeout=5).text == "ok"


def test_no_process_is_root_and_none_can_write_beside_its_volumes(system: System):
    for name in sorted(set(system.containers()) - JOBS):
        said = system.ask(name, "bash", "-c", "id -u; touch /touched 2>&1; grep CapEff /proc/self/status", check=False)
        user, touched, rights = said.strip().splitlines()
        assert int(user) > 0, name
        assert "Read-only file system" in touched, name
        assert int(rights.split()[1], 16) == 0, name


STRANGERS = {
    "Bad credentials": "from cassandra.auth import PlainTextAuthProvider as P; from cassandra.cluster import Cluster; "
    "Cluster(['cassandra'], auth_provider=P('cassandra', 'cassandra')).connect()",
    "requires authentication": "from cassandra.cluster import Cluster; Cluster(['cassandra']).connect()",
    "KafkaConnectionError|NoBrokersAvailable|KafkaTimeoutError": "from kafka import KafkaAdminClient; "
    "KafkaAdminClient(bootstrap_servers='kafka-1:9092', request_timeout_ms=5000, bootstrap_timeout_ms=5000)",
    "no MODIFY permission": "from observability import settings; from spark import stores; "
    "stores.cassandra(settings.read(stores.Settings, settings.environ())).execute("
    "\"INSERT INTO vigie.schema_version (name, version) VALUES ('stats', 0)\")",
}


@pytest.mark.parametrize("answer", STRANGERS)
def test_a_store_refuses_who_it_does_not_know_and_the_reader_that_writes(system: System, answer: str):
    said = system.ask("auditor", "bash", "-c", 'timeout 60 python3 -c "$0" 2>&1; echo "code $?"', STRANGERS[answer])
    assert not said.endswith("code 0\n")
    assert re.search(answer, said), said[-1500:]


def test_memory_stays_below_its_limits(system: System):
    names = {one["ID"][:12]: name for name, one in system.containers().items()}
    lines = docker("stats", "--no-stream", "--format={{.ID}} {{.MemUsage}} {{.MemPerc}}").splitlines()
    mine = {names[line.split()[0]]: line.split(maxsplit=1)[1] for line in lines if line.split()[0] in names}
    print("\n" + "\n".join(f"{name:<14} {said}" for name, said in sorted(mine.items())))
    assert {name for name, said in mine.items() if float(said.split()[-1].rstrip("%")) > 95} == set()


def test_a_broker_is_killed_and_users_flow_on(system: System):
    hops, began = system.hops(), time.monotonic()
    back = kill(system, "kafka-2")
    flowing(system, hops)
    print(f"\nready again after {back:.0f} s, more users in both stores after {time.monotonic() - began:.0f} s")
    print(audited(system))


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", ["broker-kill", "api-garbage", "ingest-kill"])
def test_a_drill_on_containers_ends_with_a_verdict(system: System, name: str):
    said = system.compose("run", "--rm", "--no-deps", "-T", "drill", name, timeout=1400, check=False)
    print("\n" + said)
    assert "PASS  0 lost, 0 doubled, 0 made up, 0 wrong sums" in said


def test_after_down_and_up_it_goes_on_where_it_was(system: System):
    before = system.hops()
    system.compose("down")
    system.up()
    began = time.monotonic()
    flowing(system, before)
    print(f"\nusers again {time.monotonic() - began:.0f} s after up returned")
    print(audited(system))


def test_each_process_may_be_killed_in_turn_and_nothing_is_lost(system: System):
    hops = system.hops()
    for name in sorted(set(system.containers()) - JOBS):
        print(f"\n{name:<14} ready again after {kill(system, name):5.1f} s", end="", flush=True)
    flowing(system, hops)
    print("\n" + audited(system))


def test_with_tls_it_goes_on_where_it_was(system: System):
    before = system.hops()
    system.compose("down")
    system.env["KAFKA_SECURITY"] = "SASL_SSL"
    system.up()
    flowing(system, before)
    assert system.ask("auditor", "printenv", "VIGIE_KAFKA_SECURITY") == "SASL_SSL\n"
    print(audited(system))


def kill(system: System, name: str) -> float:
    """Kill every process of a container; how long until it is ready again."""
    before, began = system.started(name), time.monotonic()
    system.ask(name, "bash", "-c", "kill -9 -1", check=False)
    until(lambda: system.started(name) != before, KILLED_S, f"{name} started again")
    until(lambda: system.containers()[name]["Health"] == "healthy", KILLED_S, f"{name} healthy again")
    return time.monotonic() - began


def flowing(system: System, before: dict[str, float]) -> None:
    """More users than `before` reach both stores."""
    until(lambda: all(system.hops().get(hop, 0) > before[hop] for hop in STORED), READY_S, "more users than before")


def audited(system: System) -> str:
    """The audit compares every hop, as sets of users; it fails when one differs."""
    return system.compose("run", "--rm", "--no-deps", "-T", "audit", timeout=300)
