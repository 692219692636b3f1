"""
The configuration of containers, from the same settings and templates as that of `make up`: `python -m engines.images`.

It writes images/config/, which docker-compose.yml mounts as /etc/vigie. With `--offline FOLDER` it lays there, besides,
what docker-compose.offline.yml builds the engines' image from: those that engines.fetch has fetched or built.

A container has the name of the program that it runs, so each address is that name with its one of PORTS: a port of
`.env` moves what is published, and docker-compose.yml listens at the same numbers as these files. The engines' Java
is the one of their image, and started as `make up` starts it: what differs is where the jars are.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from engines import brokers, builds, collector, config, doors, fetch, jvm, ring, scrape, tools, watchers
from engines.config import Config
from engines.state import State
from observability import access, settings

FOLDER = settings.ROOT / "images" / "config"
STATE = State(Path("/state"))  # of each container, a volume
MOUNTED, SECRETS = Path("/etc/vigie"), Path("/secrets")
SECURITIES = (access.SASL_PLAINTEXT, access.SASL_SSL)
RULES = "/etc/prometheus/rules/*.yml"
KAFKA_JARS, CASSANDRA_JARS, AGENT = Path("/opt/kafka/libs"), Path("/opt/cassandra/lib"), Path("/opt/vigie")
ANYWHERE = "0.0.0.0"  # noqa: S104 a container's own network; compose publishes on loopback
MONGODB = ("mongodb", 9216)  # what only containers run: the exporter of a real mongod, and its own port

# The engines' image: what of the cache goes where.
OFFLINE = {
    "kafka": "opt/kafka/libs",
    "cassandra": "opt/cassandra/lib",
    **dict.fromkeys(("documents", "prometheus", "alertmanager", "jaeger", "toxiproxy"), "usr/local/bin"),
}

# Where each listens in its container.
PORTS = {
    "SIMULATOR": 8090,
    "SIMULATOR_ADMIN": 8091,
    "KAFKA": 9092,
    "KAFKA_CONTROLLER": 9192,
    "CASSANDRA": 9042,
    "CASSANDRA_STORAGE": 7010,
    "MONGO": 27017,
    "SPARK_UI": 4040,
    "DASHBOARD": 8501,
    "PROMETHEUS": 9090,
    "ALERTMANAGER": 9393,
    "GRAFANA": 3000,
    "OTLP": 4318,
    "JAEGER": 16686,
    "JAEGER_GRPC": 16685,
    "JAEGER_HEALTH": 13133,
    "JAEGER_METRICS": 8888,
    "SPANMETRICS": 8889,
    "INGEST_METRICS": 9401,
    "SPARK_METRICS": 9402,
    "DASHBOARD_METRICS": 9403,
    "AUDITOR_METRICS": 9404,
    "EXPORTER_METRICS": 9405,
    "SIMULATOR_METRICS": 9406,
    "KAFKA_JMX": 9411,
    "CASSANDRA_JMX": 9431,
    "TOXIPROXY": 8474,
}
LISTENING = {f"VIGIE_{name}_PORT": str(port) for name, port in PORTS.items()}

Yaml = dict[str, Any]


def of_containers(env: Mapping[str, str]) -> Config:
    """The settings of the engines, listening on every address of a container."""
    return settings.read(Config, config.environ({"VIGIE_HOST": ANYWHERE, **LISTENING, **env}, running=False))


def files(wanted: Config) -> Iterator[tuple[str, str]]:
    """The name and the text of each file."""
    for node in range(1, wanted.brokers + 1):
        for security in SECURITIES:
            yield f"kafka-{node}.{security}.properties", broker(wanted, node, security)
        yield f"kafka-{node}.args", lines(kafka(wanted, node))
    light = of_containers({"VIGIE_BROKERS": "1"})
    for security in SECURITIES:
        yield f"kafka-light.{security}.properties", broker(light, 1, security)
    yield "cassandra.yaml", ring.yaml(at("cassandra"), STATE) + doors.cassandra()
    yield "logback.xml", ring.LOGBACK
    yield "cassandra.args", lines(cassandra(wanted))
    yield "alertmanager.yml", watchers.receivers(watchers.ALERTS.read_text(), wanted.alert_webhook)
    yield "jaeger.yml", collector.configuration(wanted, STATE)
    yield "toxiproxy.json", json.dumps(list(proxies(wanted)), indent=2) + "\n"
    yield "prometheus.yml", dumped(prometheus(wanted))
    yield "prometheus.light.yml", dumped(without_mongodb(prometheus(light)))
    yield "prometheus.offline.yml", dumped(scrape.whole(wanted, str, RULES))
    yield "prometheus.light.offline.yml", dumped(scrape.whole(light, str, RULES))


def at(name: str) -> Config:
    """The settings with this container's name as the host."""
    return settings.read(Config, config.environ({"VIGIE_HOST": name, **LISTENING}, running=False))


def broker(wanted: Config, node: int, security: str) -> str:
    """The server.properties of a broker that asks who is there."""
    port, controller_port = wanted.kafka_port + node - 1, wanted.kafka_controller_port + node - 1
    door = doors.kafka(security, SECRETS, f"kafka-{node}", port, controller_port)
    return brokers.properties(wanted, STATE, node, "kafka-{}") + "\n" + door


def kafka(wanted: Config, node: int) -> tuple[str, ...]:
    """The options of a broker's Java but for its memory."""
    agent = jvm.agent(AGENT, MOUNTED / "kafka.jmx.yaml", ANYWHERE, wanted.kafka_jmx_port + node - 1)
    logging = ("-Dlog4j2.level=WARN", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")  # of the official image, of ours
    return (*jvm.lean(STATE), agent, *logging, "-cp", str(KAFKA_JARS / "*"))


def cassandra(wanted: Config) -> tuple[str, ...]:
    """The options of the node's Java but for its memory."""
    agent = jvm.agent(AGENT, MOUNTED / "cassandra.jmx.yaml", ANYWHERE, wanted.cassandra_jmx_port)
    return (*jvm.lean(STATE), *ring.options(STATE, MOUNTED, CASSANDRA_JARS, (agent,)))


def prometheus(wanted: Config) -> Yaml:
    """Whom Prometheus asks: as in `make up`, but the simulator only where there is one, and MongoDB's exporter."""
    whole = scrape.whole(wanted, str, RULES)
    for job in whole["scrape_configs"]:
        if job["job_name"] == "simulator":
            del job["static_configs"]
            found = {"names": ["simulator"], "type": "A", "port": wanted.simulator_metrics_port}
            job["dns_sd_configs"] = [{**found, "refresh_interval": "15s"}]
    name, port = MONGODB
    whole["scrape_configs"].append(scrape.job(name, [scrape.at("mongodb-exporter", port)]))
    return whole


def without_mongodb(whole: Yaml) -> Yaml:
    return whole | {"scrape_configs": [job for job in whole["scrape_configs"] if job["job_name"] != MONGODB[0]]}


def proxies(wanted: Config) -> Iterator[Yaml]:
    """What Toxiproxy stands before: at each port of its own, the program that has it."""
    doors = {
        "simulator": wanted.simulator_port,
        "cassandra": wanted.cassandra_port,
        "mongo": wanted.mongo_port,
        "jaeger": wanted.otlp_port,
    }
    for name, port in doors.items():
        yield {"name": name, "listen": f"{ANYWHERE}:{port}", "upstream": f"{name}:{port}", "enabled": True}


def lines(words: tuple[str, ...]) -> str:
    """A Java argument file, one word a line."""
    return "".join(f'"{word}"\n' for word in words)


def dumped(whole: Yaml) -> str:
    return yaml.safe_dump(whole, sort_keys=False, width=120)


def written() -> dict[str, str]:
    """All files as they should be, the rules of the agents among them."""
    agents = {f"{name}.jmx.yaml": (builds.HERE / name / "jmx.yaml").read_text() for name in ("kafka", "cassandra")}
    return dict(files(of_containers({}))) | agents


def lay(folder: Path) -> None:
    """
    Lay what the engines' image is built from into `folder`, which is made anew; what the cache lacks is built first.

    Raises:
        CannotFetch: it could not be.
    """
    java = tools.java(os.environ)
    for build in fetch.missing(builds.BUILDS):
        fetch.fetch_one(build, java.home if java else "")
    shutil.rmtree(folder, ignore_errors=True)
    for name, place in OFFLINE.items():
        archives = shutil.ignore_patterns("*.jsa*")  # Java takes them only where they were made
        shutil.copytree(builds.named(name), folder / "root" / place, dirs_exist_ok=True, ignore=archives)
    (folder / "root" / AGENT.relative_to("/")).mkdir()
    shutil.copy(builds.named("kafka") / jvm.AGENT, folder / "root" / AGENT.relative_to("/"))
    shutil.copy(FOLDER.parent / "offline.Dockerfile", folder / "Dockerfile")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m engines.images", description=__doc__)
    parser.add_argument("--offline", type=Path, metavar="FOLDER", help="lay there what the engines' image is made of")
    asked = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in written().items():
        (FOLDER / name).write_text(text)
    try:
        if asked.offline:
            lay(asked.offline)
    except fetch.CannotFetch as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
