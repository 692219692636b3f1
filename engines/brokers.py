"""
Kafka's side of the start: each broker is also a controller (KRaft), formatted once, with properties written each time.

Three copies of everything and two in sync, or one of one: what `replication` says. A killed broker is fenced within
5 seconds. The largest message is a dead letter of 8 MB and its headers.
"""

import secrets
import subprocess
from base64 import urlsafe_b64encode
from pathlib import Path

from engines import archives, builds, jvm, wires
from engines.config import Config
from engines.state import State

LARGEST_MESSAGE = 10 * 1024 * 1024  # bytes

PROPERTIES = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}{more}
advertised.listeners=PLAINTEXT://{host}:{port}{more_told}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{more_plain}
controller.listener.names=CONTROLLER
log.dirs={data}

auto.create.topics.enable=false
default.replication.factor={replication}
min.insync.replicas={in_sync}
offsets.topic.num.partitions=3
offsets.topic.replication.factor={replication}
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor={replication}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=3
share.coordinator.state.topic.replication.factor={replication}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0

message.max.bytes={largest}
replica.fetch.max.bytes={largest}
replica.fetch.response.max.bytes={largest}

# a broker that was killed is noticed within seconds
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=5000
replica.lag.time.max.ms=10000

# little memory, two cores: the cleaner's default buffer alone is 128 MB
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=4
background.threads=2
"""


class CannotFormat(Exception):
    """Kafka's own tool could not prepare a broker's folder; the text has what it said."""


def replication(brokers: int) -> tuple[int, int]:
    """Copies of every partition, and how many of them must have a message before it is acknowledged."""
    copies = min(3, brokers)
    return copies, max(1, copies - 1)


def new_cluster() -> str:
    """A cluster id as Kafka makes them: 16 random bytes in URL-safe base 64, not starting with a dash."""
    return "V" + urlsafe_b64encode(secrets.token_bytes(16)).decode()[1:22]


def properties(config: Config, state: State, node: int, names: str = "") -> str:
    """
    The whole server.properties of broker `node` (from 1); all are at one host, or `names` says where each is.

    `names` has a place for the node's number, such as "kafka-{}".
    """
    copies, in_sync = replication(config.brokers)
    nodes = range(1, config.brokers + 1)
    more = wires.listeners(config, node)

    def host(number: int) -> str:
        return names.format(number) or config.host

    return PROPERTIES.format(
        node=node,
        voters=",".join(f"{n}@{host(n)}:{config.kafka_controller_port + n - 1}" for n in nodes),
        host=host(node),
        port=config.kafka_port + node - 1,
        controller_port=config.kafka_controller_port + node - 1,
        data=folder(state, node),
        replication=copies,
        in_sync=in_sync,
        largest=LARGEST_MESSAGE,
        more="".join(f",{one.name}://{config.host}:{one.port}" for one in more),
        more_told="".join(f",{one.name}://{config.host}:{one.told}" for one in more),
        more_plain="".join(f",{one.name}:PLAINTEXT" for one in more),
    )


def folder(state: State, node: int) -> Path:
    return state.data / f"kafka-{node}"


def file(state: State, node: int) -> Path:
    return state.config / f"kafka-{node}.properties"


def classpath() -> str:
    return str(builds.named("kafka") / "*")


def command(config: Config, state: State, java: str, node: int) -> tuple[str, ...]:
    """The command line of broker `node`."""
    return (
        *jvm.command(java, config.kafka_heap_mb, state),
        *archives.shared_or_listed(archives.file(archives.KAFKA, java), folder(state, node).name, state),
        *agent(config, node),
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
        "-cp",
        classpath(),
        "kafka.Kafka",
        str(file(state, node)),
    )


def agent(config: Config, node: int) -> tuple[str, ...]:
    """What answers Prometheus inside the broker; nothing when nobody watches."""
    if not config.watch:
        return ()
    rules = builds.HERE / "kafka" / "jmx.yaml"
    return (jvm.agent(builds.named("kafka"), rules, config.host, config.kafka_jmx_port + node - 1),)


def prepare(config: Config, state: State) -> None:
    """Write every broker's properties."""
    for node in range(1, config.brokers + 1):
        file(state, node).write_text(properties(config, state, node))


def format_new(config: Config, state: State, java: str, cluster: str) -> None:
    """
    Format the brokers' folders that are not formatted yet, all at once.

    Raises:
        CannotFormat: Kafka's tool refused.
    """
    new = [n for n in range(1, config.brokers + 1) if not (folder(state, n) / "meta.properties").is_file()]
    archived = archives.shared(archives.file(archives.KAFKA, java))
    base = (*jvm.command(java, 128, state), *archived, "-cp", classpath())
    tool = (*base, "kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config")
    running = [
        subprocess.Popen([*tool, str(file(state, n))], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for n in new
    ]
    answers = [process.communicate(timeout=120)[0] for process in running]
    for process, answer in zip(running, answers, strict=True):
        if process.returncode:
            raise CannotFormat(answer.strip()[-2000:])
