"""
What the engines are started with, from the settings: the whole shape or the light one, and whose the addresses are.

An address that is our own (the blank one of `.env`) means that the engine is started here; another one that it is
somebody else's. With one broker the shape is light: every VIGIE_LIGHT_X stands in for VIGIE_X, unless that is given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from dotenv import dotenv_values

from engines import builds
from observability import access, settings

LIGHT = "VIGIE_LIGHT_"
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1)]


@dataclass(frozen=True)
class Config(access.Kafka, access.Mongo, access.Cassandra):
    """The settings of the engines; sizes in MB, times in seconds."""

    host: str
    state: str
    brokers: Annotated[int, msgspec.Meta(ge=1, le=9)]
    kafka_port: Port
    kafka_controller_port: Port
    kafka_heap_mb: Count
    cassandra_storage_port: Port
    cassandra_heap_mb: Count
    mongo_port: Port
    source_url: str
    simulator_port: Port
    simulator_admin_port: Port
    spark_ui_port: Port
    dashboard_port: Port
    watch: bool
    prometheus_port: Port
    prometheus_retention_days: Count
    alertmanager_port: Port
    alert_webhook: str
    otlp_endpoint: str
    otlp_port: Port
    trace_retention_hours: Count
    jaeger_port: Port
    jaeger_grpc_port: Port
    jaeger_health_port: Port
    jaeger_metrics_port: Port
    spanmetrics_port: Port
    ingest_metrics_port: Port
    spark_metrics_port: Port
    dashboard_metrics_port: Port
    auditor_metrics_port: Port
    exporter_metrics_port: Port
    simulator_metrics_port: Port
    kafka_jmx_port: Port
    cassandra_jmx_port: Port
    wires: bool
    wires_port: Port
    clocks: str
    needed_memory_mb: int
    needed_disk_mb: int
    up_timeout_s: Count

    @property
    def own_kafka(self) -> bool:
        return self.kafka_bootstrap == ",".join(f"{self.host}:{self.kafka_port + n}" for n in range(self.brokers))

    @property
    def own_cassandra(self) -> bool:
        return self.cassandra_hosts == self.host

    @property
    def own_documents(self) -> bool:
        return self.mongo_uri == f"mongodb://{self.host}:{self.mongo_port}"

    @property
    def own_source(self) -> bool:
        return self.source_url == f"http://{self.host}:{self.simulator_port}/api/"

    @property
    def own_traces(self) -> bool:
        return self.otlp_endpoint == f"http://{self.host}:{self.otlp_port}"


def environ(outer: Mapping[str, str], *, running: bool) -> dict[str, str]:
    """
    Return the environment of every process: the settings over `outer`, in the light shape when one broker is asked.

    `running` looks at what the running system was started with, as `settings.environ` does.

    Raises:
        WrongSetting: as `settings.environ`.
    """
    merged = settings.environ(outer, running=running)
    if merged["VIGIE_BROKERS"] == "1":
        light = {key.replace(LIGHT, "VIGIE_"): merged[key] for key in merged if key.startswith(LIGHT)}
        merged |= {key: value for key, value in light.items() if key not in outer}
    return merged


def folder(outer: Mapping[str, str]) -> Path:
    """The state folder that the settings name, absolute."""
    return Path(settings.environ(outer, running=False)["VIGIE_STATE"])


def own(env: Mapping[str, str]) -> dict[str, str]:
    """The settings alone out of a whole environment."""
    return {key: env[key] for key in sorted(dotenv_values(_file(env)))}


def overrides(env: Mapping[str, str]) -> dict[str, str]:
    """What of `env` differs from the settings' file: status, audit and down must know it to see the same system."""
    plain = settings.environ({"VIGIE_ENV_FILE": str(_file(env))}, running=False)
    return {key: value for key, value in own(env).items() if value != plain[key] and key != "VIGIE_STATE"}


def given(kept: Mapping[str, str], outer: Mapping[str, str]) -> dict[str, str]:
    """What of the `kept` overrides somebody has set; the others (addresses, the light shape, our jars) follow."""
    file = {"VIGIE_ENV_FILE": str(_file(outer))}

    def without(key: str) -> dict[str, str]:
        return environ({name: kept[name] for name in kept if name != key} | file, running=False)

    kept = {key: value for key, value in kept.items() if value != str(builds.named("spark"))}
    try:
        return {key: value for key, value in kept.items() if without(key).get(key) != value}
    except settings.WrongSetting:  # .env has changed since: all of it is told
        return dict(kept)


def _file(env: Mapping[str, str]) -> Path:
    return Path(env.get("VIGIE_ENV_FILE", settings.ROOT / ".env"))
