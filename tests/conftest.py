"""A real simulator process on free ports, and the address that the contract tests are run against."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

PIPELINE = "test_pipeline"
ALONE = ("test_a_single_broker.py", "test_on_a_cluster.py")  # each starts a system of its own
SYSTEMS = (  # what each of two systems is tested with, in this order; both take about as long
    (
        "test_nothing_is_lost.py",
        "test_dead_letters.py",
        "test_audit.py",
        "test_lag.py",
        "test_at_the_stores.py",
        "test_rebuild.py",
    ),
    (
        "test_drills.py",
        "test_the_ledgers.py",
        "test_watching.py",
        "test_damage.py",
        "test_surfaces.py",
        "test_who_is_forgotten.py",
        "test_pages.py",
        "test_planted.py",
    ),
)
CONTRACT_URL = os.environ.get("VIGIE_CONTRACT_URL", "")
TIMEOUT_S = 10


@pytest.hookimpl(tryfirst=True)  # the groups must be known when xdist names the tests by them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Begin with the tests of whole systems, end with those that start another one.

    `--dist loadgroup` gives each of two processes the next of these groups: each starts one system, and ends it after
    the last test that needs it.
    """

    def turn(item: pytest.Item) -> tuple[int, int]:
        folder, name = item.path.parent.name, item.path.name
        if folder != PIPELINE:
            return 2, 0
        if name in ALONE:
            return 3, 0
        (n,) = (n for n, files in enumerate(SYSTEMS) if name in files)
        return n, SYSTEMS[n].index(name)

    for item in items:
        n, _ = turn(item)
        alone = f"{item.path.parent.name}/{item.path.stem}"
        item.add_marker(pytest.mark.xdist_group(f"system-{n}" if n < len(SYSTEMS) else alone))
    items.sort(key=turn)


@dataclass(frozen=True)
class Running:
    """A simulator that runs: the addresses of its two ports, and its process."""

    api: str
    admin: str
    process: subprocess.Popen[str]

    def get(self, query: str = "", **options: Any) -> requests.Response:
        return requests.get(f"{self.api}?{query}", timeout=TIMEOUT_S, **options)

    def put(self, faults: Any) -> requests.Response:
        return requests.put(f"{self.admin}/faults", json=faults, timeout=TIMEOUT_S)

    def faults(self) -> dict[str, Any]:
        return requests.get(f"{self.admin}/faults", timeout=TIMEOUT_S).json()

    def journal(self) -> dict[str, Any]:
        return requests.get(f"{self.admin}/journal", timeout=TIMEOUT_S).json()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT_S)


def environment(state: Path, **settings: str) -> dict[str, str]:
    """The environment of a simulator: nothing of the caller's settings, free ports, no limit."""
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    ports = {"VIGIE_SIMULATOR_PORT": "0", "VIGIE_SIMULATOR_ADMIN_PORT": "0", "VIGIE_SIMULATOR_METRICS_PORT": "0"}
    free = {"VIGIE_SIMULATOR_LIMIT_USERS": "0", "VIGIE_OTLP_ENDPOINT": "off"}
    return outer | {"VIGIE_STATE": str(state)} | ports | free | settings


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "services.simulator", *arguments]


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.Popen[str]]:
    """Start `python -m services.simulator` with these arguments and settings."""

    def start(*arguments: str, **settings: str) -> subprocess.Popen[str]:
        env = environment(tmp_path_factory.mktemp("state"), **settings)
        return subprocess.Popen(command(*arguments), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture(scope="session")
def start(launch: Callable[..., subprocess.Popen[str]]) -> Iterator[Callable[..., Running]]:
    """Start a simulator with these settings and wait until it says that it listens; all of them end with the tests."""
    processes = []

    def listening(**settings: str) -> Running:
        process = launch(**settings)
        processes.append(process)
        line = msgspec.json.decode(process.stderr.readline())
        return Running(line["api"], line["admin"], process)

    yield listening
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def shared(start: Callable[..., Running]) -> Running:
    return start()


@pytest.fixture
def simulator(shared: Running) -> Iterator[Running]:
    """A simulator without a limit and without faults, which are cleared again."""
    yield shared
    shared.put({})


@pytest.fixture(scope="session")
def source_url(request: pytest.FixtureRequest) -> str:
    """The API under contract: VIGIE_CONTRACT_URL (the real one: https://randomuser.me/api/), else a simulator."""
    return CONTRACT_URL or request.getfixturevalue("shared").api


@pytest.fixture
def heavy() -> None:
    """A test that would take too many users from the real API."""
    if CONTRACT_URL:
        pytest.skip("the real API counts its users: 20,000 in five minutes")
