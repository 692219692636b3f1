"""Settings and a state folder that no running system shares, and free ports."""

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from engines import config
from engines.config import Config
from engines.state import State
from observability import settings


def row_of_ports(count: int) -> list[int]:
    """Ports in a row that nobody listens on now."""
    with ExitStack() as held:
        while True:
            first = held.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            row = [first.getsockname()[1] + n for n in range(count)]
            try:
                for port in row[1:]:
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return row


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    return row_of_ports


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "state")
    made.make()
    return made


@pytest.fixture
def env(state: State) -> dict[str, str]:
    """The caller's environment without his settings, pointing to a state folder of its own."""
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    return outer | {"VIGIE_STATE": str(state.root)}


@pytest.fixture
def configured(env: dict[str, str]) -> Callable[..., Config]:
    """The engines' configuration with these settings over `.env`."""

    def read(**changed: str) -> Config:
        return settings.read(Config, config.environ(env | changed, running=False))

    return read
