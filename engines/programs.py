"""
What runs, as data: each program's command, its ports, the question that says it answers, and how it is stopped.

Brokers, Cassandra and the document store are the engines; the pipeline runs on them; the watchers look at both.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from engines import archives, brokers, builds, clocks, ready, ring, watchers, wires
from engines.config import Config
from engines.ready import Check
from engines.state import State

ENGINES, PIPELINE, WATCHERS = "engines", "pipeline", "watchers"
KAFKA, CASSANDRA, DOCUMENTS, SPARK = "kafka", "cassandra", "documents", "spark"
SIMULATOR, INGEST, DASHBOARD = "simulator", "ingest", "dashboard"
PROMETHEUS, ALERTMANAGER, JAEGER = watchers.PROMETHEUS, watchers.ALERTMANAGER, watchers.JAEGER
TOXIPROXY = wires.TOXIPROXY
AUDITOR, EXPORTER = watchers.AUDITOR, watchers.EXPORTER
MONGOD, EMBEDDED, ELSEWHERE = "mongod", "embedded", "elsewhere"

GENTLE = ("nice", "-n", "5")  # the pipeline comes first

# The order in which `make down` stops them, each step when the one before is stopped: first what lets users in.
STOPPING = (
    (INGEST, DASHBOARD),
    (SIMULATOR, SPARK),
    (AUDITOR, EXPORTER, PROMETHEUS, ALERTMANAGER, JAEGER),
    (KAFKA, CASSANDRA, DOCUMENTS, TOXIPROXY),
)


@dataclass(frozen=True)
class Port:
    """A port that a program listens on, and the setting that moves it."""

    number: int
    setting: str


@dataclass(frozen=True)
class Program:
    """
    One process that the supervisor keeps running.

    `family` is `name` without a broker's number; `answers` is asked before the program counts as ready. One that ends
    before `steady_s` seconds is started again after ever longer pauses. After TERM it has `stop_s` seconds before it is
    killed with its children.
    """

    name: str
    family: str
    room: str
    command: tuple[str, ...]
    ports: tuple[Port, ...]
    answers: Check
    stop_s: int = 10
    steady_s: int = 1


def programs(config: Config, state: State, java: str, documents: str) -> tuple[Program, ...]:
    """Every program that these settings start here, engines first, watchers last; `documents` is what `store` said."""
    found: list[Program] = []
    if config.own_kafka:
        found.extend(broker(config, state, java, node) for node in range(1, config.brokers + 1))
    if config.own_cassandra:
        found.append(cassandra(config, state, java))
    if documents != ELSEWHERE:
        found.append(document_store(config, state, documents))
    if config.wires:
        found.append(toxiproxy(config, state))
    if config.own_source:
        found.append(simulator(config))
    found.extend((ingest(config, state), spark(config, state), dashboard(config, state)))
    if config.watch:
        found.extend(watching(config, state))
    return tuple(found)


def watching(config: Config, state: State) -> Iterator[Program]:
    """The watchers."""
    if config.own_traces:
        yield watcher(
            config,
            JAEGER,
            watchers.jaeger(state),
            Port(config.jaeger_port, "VIGIE_JAEGER_PORT"),
            Port(config.otlp_port, "VIGIE_OTLP_PORT"),
            Port(config.jaeger_grpc_port, "VIGIE_JAEGER_GRPC_PORT"),
            Port(config.jaeger_health_port, "VIGIE_JAEGER_HEALTH_PORT"),
            Port(config.jaeger_metrics_port, "VIGIE_JAEGER_METRICS_PORT"),
            Port(config.spanmetrics_port, "VIGIE_SPANMETRICS_PORT"),
        )
    port = Port(config.prometheus_port, "VIGIE_PROMETHEUS_PORT")
    yield watcher(config, PROMETHEUS, watchers.prometheus(config, state), port)
    port = Port(config.alertmanager_port, "VIGIE_ALERTMANAGER_PORT")
    yield watcher(config, ALERTMANAGER, watchers.alertmanager(config, state), port)
    port = Port(config.auditor_metrics_port, "VIGIE_AUDITOR_METRICS_PORT")
    yield watcher(config, AUDITOR, module("services.auditor"), port)
    port = Port(config.exporter_metrics_port, "VIGIE_EXPORTER_METRICS_PORT")
    yield watcher(config, EXPORTER, module("services.exporter"), port)


def watcher(config: Config, name: str, command: tuple[str, ...], port: Port, *more: Port) -> Program:
    """A watcher, ready when its first port answers; one that cannot start must not busy the processors."""
    answers = partial(ready.port, config.host, port.number)
    gentle = (*GENTLE, *command)
    return Program(name, name, WATCHERS, gentle, (port, *more), answers, steady_s=5)


def store(config: Config, state: State) -> str:
    """Which document store has the users: somebody else's, what made the data, a `mongod`, or the embedded."""
    if not config.own_documents:
        return ELSEWHERE
    shape = state.shape()
    if shape is not None and shape.documents != ELSEWHERE:
        return shape.documents
    return MONGOD if shutil.which("mongod") else EMBEDDED


def environment(env: Mapping[str, str], state: State, java: str) -> dict[str, str]:
    """The environment of every program: the settings, one Java, one Python, temporary files in the state folder."""
    env = {**env, "VIGIE_SPARK_JARS": env["VIGIE_SPARK_JARS"] or str(builds.named(SPARK))}
    return {
        **env,
        "JAVA_HOME": java,
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(state.tmp),
        "SPARK_LAUNCHER_OPTS": "-XX:-UsePerfData",
        "SPARK_SUBMIT_OPTS": archives.of_spark(env, state, java),
    }


def broker(config: Config, state: State, java: str, node: int) -> Program:
    port, controller = config.kafka_port + node - 1, config.kafka_controller_port + node - 1
    ports = [Port(port, "VIGIE_KAFKA_PORT"), Port(controller, "VIGIE_KAFKA_CONTROLLER_PORT")]
    if config.watch:
        ports.append(Port(config.kafka_jmx_port + node - 1, "VIGIE_KAFKA_JMX_PORT"))
    ports.extend(Port(one.port, wires.SETTING) for one in wires.listeners(config, node))
    command = brokers.command(config, state, java, node)
    return Program(f"{KAFKA}-{node}", KAFKA, ENGINES, command, tuple(ports), partial(ready.port, config.host, port))


def cassandra(config: Config, state: State, java: str) -> Program:
    ports = [
        Port(config.cassandra_port, "VIGIE_CASSANDRA_PORT"),
        Port(config.cassandra_storage_port, "VIGIE_CASSANDRA_STORAGE_PORT"),
    ]
    if config.watch:
        ports.append(Port(config.cassandra_jmx_port, "VIGIE_CASSANDRA_JMX_PORT"))
    answers = partial(ready.cassandra, config.host, config.cassandra_port)
    return Program(CASSANDRA, CASSANDRA, ENGINES, ring.command(config, state, java), tuple(ports), answers)


def document_store(config: Config, state: State, which: str) -> Program:
    folder = state.data / which
    embedded = (
        "env",
        "GOGC=400",  # a scan takes a third less time, and 30 MB more
        str(builds.named(DOCUMENTS) / DOCUMENTS),
        "-listen",
        f"{config.host}:{config.mongo_port}",
        "-data",
        str(folder),
    )
    mongod = ("mongod", "--dbpath", str(folder), "--bind_ip", config.host, "--port", str(config.mongo_port))
    return Program(
        DOCUMENTS,
        DOCUMENTS,
        ENGINES,
        embedded if which == EMBEDDED else (*mongod, "--nounixsocket"),
        (Port(config.mongo_port, "VIGIE_MONGO_PORT"),),
        partial(ready.documents, config.mongo_uri),
    )


def toxiproxy(config: Config, state: State) -> Program:
    ports = (config.wires_port, *(one.port for one in wires.every(config)))
    return Program(
        TOXIPROXY,
        TOXIPROXY,
        ENGINES,
        wires.command(config, state),
        tuple(Port(number, wires.SETTING) for number in ports),
        partial(ready.port, config.host, config.wires_port),
    )


def simulator(config: Config) -> Program:
    ports = (
        Port(config.simulator_port, "VIGIE_SIMULATOR_PORT"),
        Port(config.simulator_admin_port, "VIGIE_SIMULATOR_ADMIN_PORT"),
        Port(config.simulator_metrics_port, "VIGIE_SIMULATOR_METRICS_PORT"),
    )
    answers = partial(ready.port, config.host, config.simulator_port)
    return Program(SIMULATOR, SIMULATOR, PIPELINE, module("services.simulator"), ports, answers)


def ingest(config: Config, state: State) -> Program:
    ports = (Port(config.ingest_metrics_port, "VIGIE_INGEST_METRICS_PORT"),)
    command = drilled(config, state, INGEST, "services.ingest")
    return Program(INGEST, INGEST, PIPELINE, command, ports, running, stop_s=15)


def spark(config: Config, state: State) -> Program:
    return Program(
        SPARK,
        SPARK,
        PIPELINE,
        drilled(config, state, SPARK, "spark.lanes"),
        (
            Port(config.spark_ui_port, "VIGIE_SPARK_UI_PORT"),
            Port(config.spark_metrics_port, "VIGIE_SPARK_METRICS_PORT"),
        ),
        partial(ready.port, config.host, config.spark_ui_port),
        stop_s=15,
    )


def dashboard(config: Config, state: State) -> Program:
    return Program(
        DASHBOARD,
        DASHBOARD,
        PIPELINE,
        drilled(config, state, DASHBOARD, "dashboard"),
        (
            Port(config.dashboard_port, "VIGIE_DASHBOARD_PORT"),
            Port(config.dashboard_metrics_port, "VIGIE_DASHBOARD_METRICS_PORT"),
        ),
        partial(ready.port, config.host, config.dashboard_port),
    )


def drilled(config: Config, state: State, program: str, name: str) -> tuple[str, ...]:
    """`python -m name`, by its wires and with its own clock where drills want them."""
    clock = clocks.by_clock(config, state, program)
    words = (*module("engines.clocked"), name) if clock else module(name)
    return (*wires.by_wire(config, program), *clock, *words)


def module(name: str) -> tuple[str, ...]:
    """`python -m name` with this environment's Python."""
    return (sys.executable, "-m", name)


def running() -> bool:
    """For what works before its port answers: that the supervisor says it runs is enough."""
    return True
