"""
`docker compose up` for real, with the images of docker-compose.offline.yml: `make test-compose`.

It needs a Docker engine, 12 GB and half an hour, and runs beside another system: its project and ports are its own. A
process is killed from within its container, because Docker does not start again what `docker kill` has ended.
"""

import os
import re
import time
from collections.abc import Iterator

import pytest
import requests

from tests.test_compose.conftest import JOBS
from tests.test_compose.running import (
    FOR_REAL,
    PORTS,
    READY_S,
    STORED,
    System,
    audited,
    docker,
    flowing,
    kill,
    ready,
    running,
    unreachable,
    until,
)

pytestmark = FOR_REAL


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running(System()) as one:
        yield one


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
    until(lambda: not unreachable(), 60, "targets up")


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
