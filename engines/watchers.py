"""
What watches the pipeline: how Prometheus, Alertmanager and Jaeger are started, and what is written for them before.

Each keeps its memory below a bound of its own: Go then collects its garbage more often, and refuses nothing.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from engines import builds, collector, fetch, scrape
from engines.builds import Build
from engines.config import Config
from engines.state import State
from observability.settings import ROOT

PROMETHEUS, ALERTMANAGER, JAEGER = "prometheus", "alertmanager", "jaeger"
AUDITOR, EXPORTER = "auditor", "exporter"
ALERTS = ROOT / "observability" / "prometheus" / "alertmanager.yml"
MEMORY_MIB = {PROMETHEUS: 80, ALERTMANAGER: 32, JAEGER: 200}  # Badger's tables count as 90 before they are filled


def prepare(config: Config, state: State) -> None:
    """Write the configuration of the three, and make their folders."""
    for name in (PROMETHEUS, ALERTMANAGER, JAEGER):
        (state.data / name).mkdir(exist_ok=True)
    file(state, PROMETHEUS).write_text(scrape.configuration(config))
    file(state, ALERTMANAGER).write_text(receivers(ALERTS.read_text(), config.alert_webhook))
    file(state, JAEGER).write_text(collector.configuration(config, state))


def file(state: State, name: str) -> Path:
    """Where the configuration of one of the three is."""
    return state.config / f"{name}.yml"


def receivers(text: str, webhook: str) -> str:
    """The Alertmanager's configuration as it is, or with the webhook in every receiver."""
    if not webhook:
        return text
    whole: dict[str, Any] = yaml.safe_load(text)
    for receiver in whole["receivers"]:
        receiver.setdefault("webhook_configs", []).append({"url": webhook, "send_resolved": True})
    return yaml.safe_dump(whole, sort_keys=False)


def prometheus(config: Config, state: State) -> tuple[str, ...]:
    return (
        *program(PROMETHEUS),
        f"--config.file={file(state, PROMETHEUS)}",
        f"--storage.tsdb.path={state.data / PROMETHEUS}",
        f"--storage.tsdb.retention.time={config.prometheus_retention_days}d",
        "--enable-feature=exemplar-storage",
        "--web.cors.origin=none",  # by default a page of any site may read what is here
        f"--web.listen-address={config.host}:{config.prometheus_port}",
    )


def alertmanager(config: Config, state: State) -> tuple[str, ...]:
    return (
        *program(ALERTMANAGER),
        f"--config.file={file(state, ALERTMANAGER)}",
        f"--storage.path={state.data / ALERTMANAGER}",
        "--cluster.listen-address=",
        f"--web.listen-address={config.host}:{config.alertmanager_port}",
    )


def jaeger(state: State) -> tuple[str, ...]:
    return (*program(JAEGER), f"--config={file(state, JAEGER)}")


def program(name: str) -> tuple[str, ...]:
    """The start of the command line of one of the three, with its bound of memory."""
    return ("env", f"GOMEMLIMIT={MEMORY_MIB[name]}MiB", str(builds.named(name) / name))


def unbuilt(names: Iterable[str]) -> list[Build]:
    """The builds that these watchers run from and that the cache lacks."""
    wanted = set(names)
    return fetch.missing(build for build in builds.WATCHERS if build.name in wanted)
