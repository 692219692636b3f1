"""A project of Docker Compose that runs for a test: asked, killed, audited, and taken down with all that it had."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from observability.settings import ROOT
from tests.test_compose.conftest import JOBS, OFFLINE, program

PORTS = {"DASHBOARD": 28501, "SPARK_UI": 24040, "PROMETHEUS": 29090, "ALERTMANAGER": 29393, "JAEGER": 26686}
STORED = ("stored", "summed")
READY_S, KILLED_S = 240, 120
FOR_REAL = [
    pytest.mark.timeout(900),
    pytest.mark.skipif("TEST_COMPOSE" not in os.environ, reason="only by make test-compose: it needs a Docker engine"),
]

Yaml = dict[str, Any]


class System:
    """One project of Docker Compose, of our files with some profiles and settings."""

    def __init__(
        self, name: str = "vigie-test", files: tuple[str, ...] = OFFLINE, profiles: tuple[str, ...] = (), **given: str
    ) -> None:
        self.name = name
        self.words = [f"--project-name={name}", *(f"--file={one}" for one in files)]
        self.words += [f"--profile={one}" for one in profiles]
        moved = {f"VIGIE_{name}_PORT": str(port) for name, port in PORTS.items()}
        socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
        there = Path(socket).is_socket()
        of_drill = {"DOCKER_SOCKET": socket, "DOCKER_GID": str(Path(socket).stat().st_gid)} if there else {}
        of_source = {"VIGIE_RATE": "60", "VIGIE_SIMULATOR_ADMIN_HOST": "simulator"}  # the rate: within its budget
        self.env = {**os.environ, **moved, **of_drill, **of_source, **given}

    def compose(self, *words: str, timeout: float = 300, check: bool = True) -> str:
        done = subprocess.run(
            [*program(), *self.words, *words],
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


@contextmanager
def running(system: System) -> Iterator[System]:
    """The system, not up yet; its containers and volumes are gone afterwards."""
    system.compose("down", "--volumes", "--remove-orphans")
    try:
        yield system
    finally:
        system.compose("logs", "--no-color", "--tail=40", check=False)
        system.compose("down", "--volumes", "--remove-orphans")
        left = f"--filter=label=com.docker.compose.project={system.name}"
        assert docker("ps", "--all", "--quiet", left) == ""
        assert docker("volume", "ls", "--quiet", left) == ""


def unreachable() -> list[str]:
    """The jobs of Prometheus whose targets it does not reach; `all` where it has none."""
    address = f"http://127.0.0.1:{PORTS['PROMETHEUS']}/api/v1/targets"
    found = requests.get(address, timeout=5).json()["data"]["activeTargets"]
    return [one["labels"]["job"] for one in found if one["health"] != "up"] or ([] if found else ["all"])


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
