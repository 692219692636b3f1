"""
How one program is killed, kept away, started, frozen and thawed: under our supervisor, or as a docker compose service.

A drill names programs as `make status` does (`kafka-2`, `cassandra`, `documents`, `spark`, …). Under docker compose the
service of the same name is meant. Every call returns when it is so; each may be made twice.

    CannotBreak     a program did not do what it was told; the text says which
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import docker
import psutil
import requests
from docker.errors import DockerException
from docker.models.containers import Container

from engines import supervise
from engines.state import State

PATIENCE_S = 30


class CannotBreak(Exception):
    """A program did not do what it was told; the text says which."""


class Programs(Protocol):
    """What a drill can do to a program."""

    def states(self) -> dict[str, str]:
        """Every program with the word that its keeper has for it: RUNNING, STOPPED, …"""

    def kill(self, name: str) -> None:
        """`kill -9`, and nobody starts it again: it is gone until `start`."""

    def strike(self, name: str) -> None:
        """`kill -9`, and its keeper starts it again; return when there is a new one."""

    def stop(self, name: str) -> None:
        """Ask it to end, as an operator does: it has its time to; it is gone until `start`."""

    def start(self, name: str) -> None:
        """Start it if it does not run; it may not be ready yet."""

    def freeze(self, name: str) -> None:
        """It holds its ports and connections, and does nothing (SIGSTOP)."""

    def thaw(self, name: str) -> None:
        """It goes on, if it was frozen."""


def until(done: Callable[[], bool], what: str, limit_s: float = PATIENCE_S) -> None:
    """
    Return once it is done.

    Raises:
        CannotBreak: it is not within `limit_s`.
    """
    ends = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > ends:
            raise CannotBreak(f"{what}: not within {limit_s:.0f} s")
        time.sleep(0.05)


class Supervised:
    """The programs of `make up`, by the supervisor of its state folder."""

    def __init__(self, state: State) -> None:
        self.state = state

    def states(self) -> dict[str, str]:
        return {name: one.state for name, one in supervise.processes(self.state).items()}

    def kill(self, name: str) -> None:
        """Frozen first, so that it does nothing between the order not to start it again and its death."""
        tree = self._tree(name)
        told(tree, signal.SIGSTOP)
        if supervise.processes(self.state)[name].state in supervise.UNDER_WAY:
            supervise.ask(self.state, "supervisor.stopProcess", name, False)
        told(tree, signal.SIGKILL)
        until(lambda: supervise.processes(self.state)[name].state in supervise.ENDED, f"{name} should be gone")

    def strike(self, name: str) -> None:
        before = supervise.pid(self.state, name)
        told(self._tree(name), signal.SIGKILL)
        until(lambda: supervise.pid(self.state, name) not in (0, before), f"{name} should be started again")

    def stop(self, name: str) -> None:
        supervise.stop(self.state, name)

    def start(self, name: str) -> None:
        supervise.start(self.state, name)

    def freeze(self, name: str) -> None:
        told(self._tree(name), signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        told(self._tree(name), signal.SIGCONT)

    def _tree(self, name: str) -> list[psutil.Process]:
        pid = supervise.pid(self.state, name)
        with suppress(psutil.NoSuchProcess):
            return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)] if pid else []
        return []


def told(tree: list[psutil.Process], sign: signal.Signals) -> None:
    """Send a signal to each; that one has gone meanwhile is no error."""
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(sign)


ONCE = {"secrets", "replica-set", "topics", "grants", "tables"}  # services that end by themselves
SERVICES = {"documents": "mongo"}  # where a program's service has another name
PROGRAMS = {service: name for name, service in SERVICES.items()}
PROJECT, SERVICE, ONE_OFF = (f"com.docker.compose.{label}" for label in ("project", "service", "oneoff"))
WORDS = {"running": supervise.RUNNING, "paused": supervise.RUNNING, "exited": "STOPPED", "restarting": "STARTING"}


class Composed:
    """The containers of a Docker Compose project, by Docker's own API (DOCKER_HOST, or its socket)."""

    def __init__(self, project: str, client: docker.DockerClient | None = None) -> None:
        """
        Raises:
            CannotBreak: no Docker Engine answers.
        """
        self.project = project
        with refused("docker (its socket must be readable: DOCKER_GID is its group)"):
            self.client = client or docker.from_env(timeout=PATIENCE_S)

    def states(self) -> dict[str, str]:
        """As the supervisor's words, so that a hypothesis reads both alike."""
        there = self._containers()
        if not there:
            raise CannotBreak(f"VIGIE_COMPOSE_PROJECT={self.project!r}: no containers of it are there")
        return {name: WORDS.get(one.status, one.status) for name, one in there.items() if name not in ONCE}

    def kill(self, name: str) -> None:
        """A container that was killed by hand is not started again by its restart policy."""
        if self._one(name).status in ("running", "paused", "restarting"):
            with refused(f"kill {name}"):
                self._one(name).kill()
        until(lambda: self._one(name).status == "exited", f"{name} should be gone")

    def strike(self, name: str) -> None:
        """From within: what Docker itself has killed it does not start again."""
        before = self._one(name).attrs["State"]["StartedAt"]
        with refused(f"strike {name}"):
            self._one(name).exec_run(["bash", "-c", "kill -9 -1"])
        until(lambda: self._one(name).attrs["State"]["StartedAt"] != before, f"{name} should be started again")

    def stop(self, name: str) -> None:
        with refused(f"stop {name}"):
            self._one(name).stop()

    def start(self, name: str) -> None:
        with refused(f"start {name}"):
            self._one(name).start()

    def freeze(self, name: str) -> None:
        if self._one(name).status == "running":
            with refused(f"pause {name}"):
                self._one(name).pause()

    def thaw(self, name: str) -> None:
        if self._one(name).status == "paused":
            with refused(f"unpause {name}"):
                self._one(name).unpause()

    def _containers(self, *labels: str) -> dict[str, Container]:
        """Those with these labels besides; Docker is asked about each by itself, so that few is quick."""
        wanted = {"label": [f"{PROJECT}={self.project}", f"{ONE_OFF}=False", *labels]}
        with refused(f"containers of {self.project}"):
            there = self.client.containers.list(all=True, filters=wanted, ignore_removed=True)
        found = {one.labels[SERVICE]: one for one in there}
        return {PROGRAMS.get(name, name): one for name, one in found.items()}

    def _one(self, name: str) -> Container:
        there = self._containers(f"{SERVICE}={SERVICES.get(name, name)}")
        if name in ONCE or name not in there:
            raise CannotBreak(f"{name}: no such service in project {self.project}")
        return there[name]


@contextmanager
def refused(what: str) -> Iterator[None]:
    """
    Docker's own errors, in a sentence.

    Raises:
        CannotBreak: it did not do `what`.
    """
    try:
        yield
    except (DockerException, requests.RequestException) as error:
        raise CannotBreak(f"{what}: {str(error)[-500:]}") from error


def of(state: State, project: str) -> Programs:
    """The containers of a project, or where none is named the programs of this state folder's supervisor."""
    return Composed(project) if project else Supervised(state)
