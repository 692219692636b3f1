"""The other shapes of docker compose for real, each a project of its own, one after the other: `make test-compose`."""

import time

import requests

from tests.test_compose.conftest import LIGHT_OFFLINE
from tests.test_compose.running import (
    FOR_REAL,
    READY_S,
    STORED,
    System,
    audited,
    flowing,
    kill,
    ready,
    running,
    unreachable,
    until,
)

pytestmark = FOR_REAL

TOXIPROXY = 28474
PROXIED = {
    "VIGIE_SOURCE_URL": "http://toxiproxy:8090/api/",
    "VIGIE_OTLP_ENDPOINT": "http://toxiproxy:4318",
    "VIGIE_MONGO_URI": "mongodb://toxiproxy:27017/?directConnection=true",
    "VIGIE_CASSANDRA_HOSTS": "toxiproxy",
    "VIGIE_TOXIPROXY_PORT": str(TOXIPROXY),
}


def up(system: System) -> None:
    """It starts, users reach both stores, everything is healthy, and Prometheus finds every process."""
    began = time.monotonic()
    system.up()
    until(lambda: min(system.hops().get(name, 0) for name in STORED) > 0, READY_S, "users in both stores")
    print(f"\n{system.name}: users in both stores after {time.monotonic() - began:.0f} s")
    until(lambda: ready(system), READY_S, "every container healthy")
    until(lambda: not unreachable(), 60, "targets up")


def test_the_light_shape_has_one_broker_and_loses_nobody_by_its_death():
    with running(System("vigie-test-light", LIGHT_OFFLINE)) as system:
        up(system)
        assert {name for name in system.containers() if name.startswith("kafka")} == {"kafka-1"}
        before = system.hops()
        kill(system, "kafka-1")
        flowing(system, before)
        print(audited(system))


def test_lanes_on_a_cluster_go_on_when_a_worker_and_then_their_driver_is_killed():
    of_cluster = {"SPARK_MASTER": "spark://spark-master:7077"}
    with running(System("vigie-test-cluster", profiles=("cluster",), **of_cluster)) as system:
        up(system)
        for victim in ("spark-worker-1", "spark"):
            before = system.hops()
            print(f"{victim} ready again after {kill(system, victim):.0f} s")
            flowing(system, before)
        print(audited(system))


def test_with_faults_between_ingestion_lanes_and_stores_nobody_is_lost():
    with running(System("vigie-test-drills", profiles=("drills",), **PROXIED)) as system:
        up(system)
        address = f"http://127.0.0.1:{TOXIPROXY}/proxies"
        assert {"mongo", "cassandra", "simulator"} <= set(requests.get(address, timeout=5).json())
        slow = {"name": "slow", "type": "latency", "attributes": {"latency": 300}}
        reset = {"name": "reset", "type": "reset_peer", "toxicity": 0.05, "attributes": {"timeout": 200}}
        for proxy in ("mongo", "cassandra", "simulator"):
            for toxic in (slow, reset):
                requests.post(f"{address}/{proxy}/toxics", json=toxic, timeout=5).raise_for_status()
        before = system.hops()
        flowing(system, before)
        for proxy in ("mongo", "cassandra", "simulator"):
            for toxic in (slow, reset):
                requests.delete(f"{address}/{proxy}/toxics/{toxic['name']}", timeout=5).raise_for_status()
        flowing(system, system.hops())
        print(audited(system))
