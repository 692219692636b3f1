"""
`python -m grafana.served URL`: has a running Grafana loaded our dashboards, data sources, rules and runbooks?

The URL carries the administrator's name and password: http://admin:admin@127.0.0.1:3000. Waits until Grafana and
Prometheus are there, then names all that is missing. Needs Python alone, so that CI can run it without an install.
"""

import argparse
import base64
import json
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
DASHBOARDS = ROOT / "grafana" / "dashboards"
RULES = ROOT / "observability" / "prometheus" / "rules"
RUNBOOKS = ROOT / "docs" / "runbooks"
SOURCES = ("vigie-prometheus", "vigie-jaeger", "vigie-alertmanager")
PATIENCE_S = 90
Ask = Callable[[str], Any]  # a path of Grafana's; the answer's JSON, its text, or None where there is none


def missing(ask: Ask) -> list[str]:
    """What Grafana has not loaded, in words; empty when all is there."""
    return [*dashboards(ask), *sources(ask), *rules(ask), *runbooks(ask)]


def dashboards(ask: Ask) -> Iterator[str]:
    for file in sorted(DASHBOARDS.glob("*.json")):
        ours = json.loads(file.read_text())
        found = ask(f"/api/dashboards/uid/{ours['uid']}")
        if found is None:
            yield f"dashboard {ours['uid']}"
        elif not found["meta"]["provisioned"] or found["meta"]["folderTitle"] != "Vigie":
            yield f"dashboard {ours['uid']}: not provisioned into the folder Vigie"
        elif titles(found["dashboard"]) != titles(ours):
            yield f"dashboard {ours['uid']}: not with our panels"


def titles(dashboard: dict[str, Any]) -> list[str]:
    return [panel["title"] for panel in dashboard["panels"]]


def sources(ask: Ask) -> Iterator[str]:
    """Jaeger need not run where this is checked; Prometheus and the Alertmanager must."""
    for uid in SOURCES:
        found = ask(f"/api/datasources/uid/{uid}")
        if found is None or not found["url"]:
            yield f"data source {uid}"
    health = ask(f"/api/datasources/uid/{SOURCES[0]}/health")
    if health is None or health["status"] != "OK":
        yield f"data source {SOURCES[0]}: does not reach Prometheus"
    if ask(f"/api/alertmanager/{SOURCES[2]}/api/v2/status") is None:
        yield f"data source {SOURCES[2]}: does not reach the Alertmanager"


def rules(ask: Ask) -> Iterator[str]:
    """Alerts come from Prometheus's rules: Grafana must see each of them through its data source."""
    found = ask(f"/api/prometheus/{SOURCES[0]}/api/v1/rules") or {"data": {"groups": []}}
    seen = {rule["name"] for group in found["data"]["groups"] for rule in group["rules"]}
    for file in sorted(RULES.glob("*.yml")):
        for name in re.findall(r"^ +- (?:alert|record): (\S+)", file.read_text(), re.MULTILINE):
            if name not in seen:
                yield f"rule {name} of {file.name}"


def runbooks(ask: Ask) -> Iterator[str]:
    for file in sorted(RUNBOOKS.glob("*.md")):
        if ask(f"/public/vigie/runbooks/{file.name}") is None:
            yield f"runbook {file.name}"


def asking(url: str) -> Ask:
    """How to ask the Grafana at this address, as the administrator that it names."""
    parts = urlsplit(url)
    where = f"{parts.scheme}://{parts.hostname}:{parts.port}"
    secret = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()

    def ask(path: str) -> Any:
        wanted = urllib.request.Request(where + path, headers={"Authorization": f"Basic {secret}"})  # noqa: S310 ours
        try:
            with urllib.request.urlopen(wanted, timeout=10) as answer:  # noqa: S310 ours
                body = answer.read().decode()
        except (urllib.error.URLError, OSError):
            return None
        try:
            return json.loads(body)
        except json.JSONDecodeError:
            return body

    return ask


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m grafana.served", description=__doc__)
    parser.add_argument("url")
    ask = asking(parser.parse_args().url)
    until = time.monotonic() + PATIENCE_S
    while (lacks := missing(ask)) and time.monotonic() < until:
        time.sleep(2)
    for each in lacks:
        print(f"missing: {each}")
    if not lacks:
        print("Grafana has loaded everything")
    return 1 if lacks else 0


if __name__ == "__main__":
    sys.exit(main())
