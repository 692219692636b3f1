"""A real simulator process on free ports, and the address that the contract tests are run against."""

import logging
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

# A driver's thread may log when its test is over, and the stream that its handler had is closed: nothing of it belongs
# into what the next test's program says.
logging.raiseExceptions = False

PIPELINE, ALONE = "tests/test_pipeline/", ("test_a_single_broker.py", "test_on_a_cluster.py")
LONGEST = ("test_nothing_is_lost.py", "test_drills.py", "test_the_ledgers.py", "test_watching.py", "test_damage.py")
CONTRACT_URL = os.environ.get("VIGIE_CONTRACT_URL", "")
TIMEOUT_S = 10


def pytest_configure() -> None:
    """What a test starts takes a Ctrl-C also where a shell had started the tests behind itself."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Begin with the tests of the whole system, the longest files first; end with those that start another one.

    `--dist loadfile` gives each process the next file of these: each of both processes starts one system, and ends it
    after its last such file.
    """

    def turn(item: pytest.Item) -> int:
        file = item.nodeid.split("::")[0]
        if not file.startswith(PIPELINE):
            return 100
        name = file.removeprefix(PIPELINE)
        return 200 if name in ALONE else LONGEST.index(name) if name in LONGEST else 50

    items.sort(key=turn)


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """A program that is started within a test sets how loud loggers are; the next test finds them as they were."""

    def loggers() -> Iterator[logging.Logger]:
        return (one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger))

    before = {one.name: one.level for one in loggers()}
    yield
    for one in loggers():
        if one.level != before.get(one.name, logging.NOTSET):
            one.setLevel(before.get(one.name, logging.NOTSET))


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
