"""
The wires between the programs, each through Toxiproxy, so that a drill can slow, cut and mend them (VIGIE_WIRES=1).

A broker tells its clients where it is to be found. So whoever reaches the brokers by wire has a listener of its own
there, which tells the wire's ends: a client's first connection and all later ones go the same way. What is not started
here has no wire.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engines import builds
from engines.config import Config
from engines.state import State

TOXIPROXY = "toxiproxy"
INGEST, SPARK, DASHBOARD = "ingest", "spark", "dashboard"
SETTING = "VIGIE_WIRES_PORT"
# From VIGIE_WIRES_PORT, which is Toxiproxy's own: where the wires to broker n begin, and the listeners they end at.
BEGIN, END = {INGEST: 0, SPARK: 20}, {INGEST: 10, SPARK: 30}
SOURCE, SPARK_MONGO, SPARK_CASSANDRA, DASHBOARD_MONGO, DASHBOARD_CASSANDRA = 41, 42, 43, 44, 45


@dataclass(frozen=True)
class Wire:
    """One way from a program: where it begins (a port), and the address where it ends."""

    name: str
    port: int
    end: str


@dataclass(frozen=True)
class Listener:
    """What a broker has for those who come by wire: its name, its port, and the port that it tells them."""

    name: str
    port: int
    told: int


def every(config: Config) -> tuple[Wire, ...]:
    """All wires; none without VIGIE_WIRES."""
    return tuple(_every(config)) if config.wires else ()


def _every(config: Config) -> Iterator[Wire]:
    base, host = config.wires_port, config.host
    for node in nodes(config):
        for program, listener in zip(BEGIN, listeners(config, node), strict=True):
            yield Wire(f"{program}-kafka-{node}", listener.told, f"{host}:{listener.port}")
    if config.own_source:
        yield Wire("ingest-source", base + SOURCE, f"{host}:{config.simulator_port}")
    if config.own_documents:
        for name, port in (("spark-mongodb", SPARK_MONGO), ("dashboard-mongodb", DASHBOARD_MONGO)):
            yield Wire(name, base + port, f"{host}:{config.mongo_port}")
    if config.own_cassandra:
        for name, port in (("spark-cassandra", SPARK_CASSANDRA), ("dashboard-cassandra", DASHBOARD_CASSANDRA)):
            yield Wire(name, base + port, f"{host}:{config.cassandra_port}")


def nodes(config: Config) -> range:
    """The brokers that wires go to."""
    return range(1, config.brokers + 1 if config.wires and config.own_kafka else 1)


def listeners(config: Config, node: int) -> list[Listener]:
    """What broker `node` has beside its own listener."""
    base = config.wires_port + node
    of_node = [Listener(program.upper(), base + END[program], base + BEGIN[program]) for program in BEGIN]
    return of_node if node in nodes(config) else []


def by_wire(config: Config, program: str) -> tuple[str, ...]:
    """The start of a program's command line: the settings by which it takes its wires."""
    if not config.wires:
        return ()
    base, host = config.wires_port, config.host
    told: dict[str, str] = {}
    if program in BEGIN and config.own_kafka:
        told["VIGIE_KAFKA_BOOTSTRAP"] = ",".join(f"{host}:{base + BEGIN[program] + node}" for node in nodes(config))
    if program == INGEST and config.own_source:
        told["VIGIE_SOURCE_URL"] = f"http://{host}:{base + SOURCE}/api/"
    mongo, cassandra = {
        SPARK: (SPARK_MONGO, SPARK_CASSANDRA),
        DASHBOARD: (DASHBOARD_MONGO, DASHBOARD_CASSANDRA),
    }.get(program, (0, 0))
    if mongo and config.own_documents:
        told["VIGIE_MONGO_URI"] = f"mongodb://{host}:{base + mongo}"
    if cassandra and config.own_cassandra:
        told["VIGIE_CASSANDRA_PORT"] = str(base + cassandra)
    return ("env", *(f"{key}={value}" for key, value in told.items()))


def prepare(config: Config, state: State) -> None:
    """Write what Toxiproxy begins with: every wire, whole."""
    wires = [{"name": one.name, "listen": f"{config.host}:{one.port}", "upstream": one.end} for one in every(config)]
    file(state).write_text(json.dumps(wires, indent=1))


def file(state: State) -> Path:
    return state.config / "wires.json"


def command(config: Config, state: State) -> tuple[str, ...]:
    program = builds.named(TOXIPROXY) / "server"
    return (str(program), f"-host={config.host}", f"-port={config.wires_port}", f"-config={file(state)}")
