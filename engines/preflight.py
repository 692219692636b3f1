"""
What must be so before anything starts: ports free, memory and disk enough, the data made for this shape.

Every problem is found before any is told; a sentence says what is wrong and what to do.
"""

import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from engines import clocks, ready
from engines.config import Config
from engines.programs import MONGOD, Program
from engines.state import Shape, State


def problems(config: Config, state: State, programs: Sequence[Program], documents: str, *, whole: bool) -> list[str]:
    """Everything that stands in the way of starting these programs; memory is asked for the whole system only."""
    return [
        *asked_twice(programs),
        *held_ports(config.host, programs),
        *(too_little_memory(config.needed_memory_mb, psutil.virtual_memory().available) if whole else ()),
        *too_little_disk(config.needed_disk_mb, state.root),
        *clocks.problems(config),
        *other_shape(config, state.shape(), state.root),
        *users_of_nobody(config),
        *([] if documents != MONGOD or shutil.which("mongod") else [no_mongod(state.root)]),
    ]


def asked_twice(programs: Sequence[Program]) -> list[str]:
    """Two programs that the settings send to one port."""
    taken: dict[int, tuple[str, str]] = {}
    found = []
    for program in programs:
        for port in program.ports:
            if port.number in taken:
                other, setting = taken[port.number]
                found.append(f"port {port.number} is both {setting} ({other}) and {port.setting} ({program.name})")
            taken[port.number] = (program.name, port.setting)
    return found


def held_ports(host: str, programs: Sequence[Program]) -> list[str]:
    """The ports that somebody else listens on, and who."""
    return [
        f"port {port.number} ({port.setting}, for {program.name}) is held by {holder(port.number)}: "
        f"stop it, or choose another: make up {port.setting}=..."
        for program in programs
        for port in program.ports
        if not is_free(host, port.number)
    ]


def is_free(host: str, port: int) -> bool:
    """Nobody answers there, and we may listen there (asked both ways: BSD lets one bind beside a wildcard)."""
    if ready.port(host, port):
        return False
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            ours.bind((host, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    for process in psutil.process_iter():
        try:
            if any(c.laddr and c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in sockets(process)):
                return f"pid {process.pid} ({process.name()})"
        except psutil.Error:
            continue
    return "another user's process"


def sockets(process: psutil.Process) -> list[Any]:
    """A process's TCP sockets; none when it is not ours to ask."""
    try:
        return list(process.net_connections("tcp"))
    except (psutil.Error, OSError):
        return []


def too_little_memory(needed_mb: int, free: int) -> list[str]:
    """Less memory free (bytes) than all processes together take."""
    if free >= needed_mb * 1e6:
        return []
    return [
        f"{free / 1e9:.1f} GB of memory are free, {needed_mb / 1e3:.1f} are needed: close something, or take the light "
        f"shape: make up BROKERS=1 (or, at your own risk, make up VIGIE_NEEDED_MEMORY_MB={int(free / 1e6)})"
    ]


def too_little_disk(needed_mb: int, root: Path) -> list[str]:
    """Less disk free than a start needs."""
    there = next(folder for folder in (root, *root.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if free >= needed_mb * 1e6:
        return []
    return [
        f"{free / 1e9:.1f} GB of disk are free for {root}, {needed_mb / 1e3:.1f} are needed: make room, or begin "
        f"anew elsewhere (VIGIE_STATE=...), or, at your own risk, make up VIGIE_NEEDED_DISK_MB={int(free / 1e6)}"
    ]


def other_shape(config: Config, shape: Shape | None, root: Path) -> list[str]:
    """Data that was made by another number of brokers."""
    if shape is None or not config.own_kafka or shape.brokers == config.brokers:
        return []
    return [
        f"the data in {root / 'data'} is of {shape.brokers} broker(s), asked are {config.brokers}: "
        f"make up BROKERS={shape.brokers}, or another folder (VIGIE_STATE=...), or remove that one and its data"
    ]


def users_of_nobody(config: Config) -> list[str]:
    """Users for engines that are started here, which ask nobody who he is."""
    asked = (
        (config.own_kafka and config.secured, "VIGIE_KAFKA_SECURITY", "VIGIE_KAFKA_BOOTSTRAP"),
        (config.own_cassandra and config.cassandra_user, "VIGIE_CASSANDRA_USER", "VIGIE_CASSANDRA_HOSTS"),
        (config.own_documents and config.mongo_user, "VIGIE_MONGO_USER", "VIGIE_MONGO_URI"),
    )
    return [
        f"{setting} is set, but what is started here knows no users: leave it blank, or set {address} to yours"
        for so, setting, address in asked
        if so
    ]


def no_mongod(root: Path) -> str:
    return (
        f"the users in {root / 'data'} were stored by a mongod, and none is on the PATH now: "
        "put it there, or set VIGIE_MONGO_URI, or take another folder (VIGIE_STATE=...)"
    )
