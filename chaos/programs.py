"""
How one program is killed, kept away, started, frozen and thawed: under our supervisor, or as a docker compose service.

A drill names programs as `make status` does (`kafka-2`, `cassandra`, `documents`, `spark`, …). Under docker compose the
service of the same name is meant. Every call returns when it is so; each may be made twice.

    CannotBreak     a program did not do what it was told; the text says which
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

import psutil

from engines import supervise
from engines.state import State
from observability.settings import ROOT

PATIENCE_S = 30
UNPAUSED, PAUSED = "running", "paused"


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


class Composed:
    """The services of a docker compose project, by the `docker compose` of the folder that has its file."""

    def __init__(self, folder: str = str(ROOT), env: Mapping[str, str] | None = None) -> None:
        self.folder, self.env = folder, env

    def states(self) -> dict[str, str]:
        """As the supervisor's words, so that a hypothesis reads both alike."""
        lines = self._compose("ps", "--all", "--format", "json").splitlines()
        found = [one for line in lines if line for one in listed(json.loads(line))]
        return {
            PROGRAMS.get(one["Service"], one["Service"]): supervise.RUNNING
            if one["State"] == UNPAUSED
            else one["State"]
            for one in found
            if one["Service"] not in ONCE
        }

    def kill(self, name: str) -> None:
        """A container that was killed by hand is not started again by its restart policy."""
        if self._state(name) in (supervise.RUNNING, PAUSED):
            self._compose("kill", "--signal", "KILL", SERVICES.get(name, name))
        until(lambda: self._state(name) not in (supervise.RUNNING, PAUSED), f"{name} should be gone")

    def strike(self, name: str) -> None:
        self.kill(name)
        self.start(name)

    def stop(self, name: str) -> None:
        self._compose("stop", SERVICES.get(name, name))

    def start(self, name: str) -> None:
        self._compose("start", SERVICES.get(name, name))

    def freeze(self, name: str) -> None:
        if self._state(name) == supervise.RUNNING:
            self._compose("pause", SERVICES.get(name, name))

    def thaw(self, name: str) -> None:
        if self._state(name) == PAUSED:
            self._compose("unpause", SERVICES.get(name, name))

    def _state(self, name: str) -> str:
        return self.states().get(name, "")

    def _compose(self, *words: str) -> str:
        """
        Run one command of docker compose.

        Raises:
            CannotBreak: it failed, or took longer than PATIENCE_S.
        """
        command = ["docker", "compose", *words]
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=dict(self.env or os.environ),
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", "") or str(error)
            raise CannotBreak(f"{' '.join(command)}: {said.strip()[-500:]}") from error
        return done.stdout


def listed(value: object) -> list[dict[str, str]]:
    """Compose prints one object a line, and older ones all of them as one list."""
    return value if isinstance(value, list) else [value]  # type: ignore[list-item]


def of(state: State) -> Programs:
    """The programs of this state folder's supervisor where one answers, else those of docker compose."""
    return Supervised(state) if supervise.alive(state) else Composed()
