"""Programs are killed, frozen and started under a real supervisor; docker is told the same in its own words."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import docker
import psutil
import pytest

from chaos import faults, programs, target
from chaos.programs import CannotBreak, Composed, Supervised
from engines import leftovers, supervise
from engines.programs import Program
from engines.state import State
from observability import settings

CHILD = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
PARENT = (sys.executable, "-c", CHILD + "time.sleep(600)")


def wait(so: Callable[[], bool], for_s: float = 20) -> None:
    ends = time.monotonic() + for_s
    while not so():
        assert time.monotonic() < ends, "it did not come to be so in time"
        time.sleep(0.05)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """A supervisor with two programs, each of which has a child."""
    made = State(tmp_path / "state")
    made.make()
    env = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    toys = [Program(name, name, "engines", PARENT, (), lambda: True) for name in ("ingest", "spark")]
    supervise.launch(toys, made, env)
    for name in ("ingest", "spark"):
        supervise.start(made, name)
    wait(lambda: all(len(tree(made, name)) == 2 for name in ("ingest", "spark")))
    wait(lambda: {one.state for one in supervise.processes(made).values()} == {supervise.RUNNING})
    yield made
    leftovers.end(leftovers.marked(made.root))
    made.clear()


def tree(state: State, name: str) -> list[psutil.Process]:
    pid = supervise.pid(state, name)
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)] if pid else []


def test_what_is_killed_stays_away_with_its_children_until_it_is_started(state: State):
    before, aimed = tree(state, "ingest"), Supervised(state)
    aimed.kill("ingest")
    aimed.kill("ingest")
    wait(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in before))
    assert aimed.states() == {"ingest": "STOPPED", "spark": "RUNNING"}
    aimed.start("ingest")
    aimed.start("ingest")
    wait(lambda: aimed.states()["ingest"] == "RUNNING")


def test_what_is_struck_is_started_again_by_its_supervisor(state: State):
    before = supervise.pid(state, "spark")
    Supervised(state).strike("spark")
    assert supervise.pid(state, "spark") not in (0, before)


def test_what_is_frozen_does_nothing_with_its_children_until_it_is_thawed(state: State):
    aimed = Supervised(state)
    aimed.freeze("spark")
    assert {one.status() for one in tree(state, "spark")} == {psutil.STATUS_STOPPED}
    assert aimed.states()["spark"] == "RUNNING", "its supervisor does not know"
    aimed.thaw("spark")
    wait(lambda: psutil.STATUS_STOPPED not in {one.status() for one in tree(state, "spark")})


def test_what_is_frozen_can_be_killed(state: State):
    aimed = Supervised(state)
    aimed.freeze("spark")
    aimed.kill("spark")
    assert aimed.states()["spark"] == "STOPPED"


def aimed_at(state: State) -> target.Target:
    env = settings.environ({"VIGIE_STATE": str(state.root), "VIGIE_SIMULATOR_ADMIN_PORT": "1"}, running=False)
    return target.Target(env, settings.read(target.Settings, env), programs.of(state, ""))


def test_the_rollback_thaws_and_starts_whatever_a_drill_has_left(state: State):
    aimed = aimed_at(state)
    faults.kill(["ingest"], {target.KEY: aimed})
    faults.freeze(["spark"], {target.KEY: aimed})
    faults.restore({target.KEY: aimed})
    wait(lambda: set(aimed.programs.states().values()) == {"RUNNING"})
    wait(lambda: psutil.STATUS_STOPPED not in {one.status() for one in tree(state, "spark")})


def test_everything_is_killed_at_once_and_nothing_of_it_is_left(state: State):
    aimed = aimed_at(state)
    assert faults.kill_everything({target.KEY: aimed}) == "5 processes are dead"
    assert leftovers.marked(state.root) == []


class Container:
    """As Docker's own client has one."""

    def __init__(self, service: str, told: list[str]) -> None:
        self.labels = {"com.docker.compose.service": service}
        self.status, self.told = "running", told
        self.attrs = {"State": {"StartedAt": "first"}}

    def exec_run(self, words: list[str]) -> None:
        self.told.append(f"{' '.join(words)} in {self.labels['com.docker.compose.service']}")
        self.attrs = {"State": {"StartedAt": "again"}}

    def __getattr__(self, word: str) -> Callable[[], None]:
        after = {"kill": "exited", "stop": "exited", "start": "running", "pause": "paused", "unpause": "running"}[word]

        def do() -> None:
            self.told.append(f"{word} {self.labels['com.docker.compose.service']}")
            if word == "stop" and self.status != "running":
                raise docker.errors.APIError("it is not running")
            self.status = after

        return do


@pytest.fixture
def composed() -> tuple[Composed, list[str]]:
    """Docker has a broker, a store and a job; what it is told is noted."""
    told: list[str] = []
    there = [Container(name, told) for name in ("kafka-1", "mongo", "topics")]
    client = SimpleNamespace(containers=SimpleNamespace(list=lambda **asked: there if "vigie" in str(asked) else []))
    return Composed("vigie", client), told


def test_under_docker_compose_the_service_of_the_same_name_is_meant(composed: tuple[Composed, list[str]]):
    aimed, told = composed
    for do in (aimed.kill, aimed.kill, aimed.start, aimed.freeze, aimed.freeze, aimed.thaw, aimed.thaw, aimed.stop):
        do("kafka-1")
    assert told == [f"{word} kafka-1" for word in ("kill", "start", "pause", "unpause", "stop")]
    aimed.strike("documents")
    assert told[-1] == "bash -c kill -9 -1 in mongo"
    assert aimed.states() == {"kafka-1": "STOPPED", "documents": "RUNNING"}


def test_what_docker_refuses_is_told_in_its_words(composed: tuple[Composed, list[str]]):
    aimed, _ = composed
    aimed.kill("kafka-1")
    with pytest.raises(CannotBreak, match="stop kafka-1: it is not running"):
        aimed.stop("kafka-1")
    with pytest.raises(CannotBreak, match="no-such: no such service in project vigie"):
        aimed.start("no-such")
    with pytest.raises(CannotBreak, match="VIGIE_COMPOSE_PROJECT='other'"):
        Composed("other", aimed.client).states()


def test_where_no_engine_answers_that_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such.sock")
    with pytest.raises(CannotBreak, match=r"docker .*No such file"):
        programs.of(State(Path("/no")), "vigie")
