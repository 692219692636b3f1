"""Prometheus, Alertmanager and Jaeger as `up` starts them: what they were told outlives a restart."""

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from engines import leftovers, supervise
from engines.state import State

pytestmark = [pytest.mark.engines, pytest.mark.timeout(180)]

WATCHERS = "prometheus,alertmanager,jaeger"
SETTINGS = (
    *("VIGIE_PROMETHEUS_PORT", "VIGIE_ALERTMANAGER_PORT", "VIGIE_OTLP_PORT"),
    *("VIGIE_JAEGER_PORT", "VIGIE_JAEGER_GRPC_PORT", "VIGIE_JAEGER_HEALTH_PORT"),
    *("VIGIE_JAEGER_METRICS_PORT", "VIGIE_SPANMETRICS_PORT"),
)


@dataclass(frozen=True)
class Watchers:
    """The three, on ports of their own, and nothing that they could watch."""

    env: dict[str, str]
    state: State
    told: list[dict[str, Any]]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "engines", *words]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=120, check=False)

    def url(self, setting: str, path: str) -> str:
        return f"http://127.0.0.1:{self.env[setting]}{path}"

    def send(self, *spans: dict[str, Any]) -> None:
        """Send spans as a process of ours does."""
        service = {"attributes": [{"key": "service.name", "value": {"stringValue": "tests"}}]}
        body = {"resourceSpans": [{"resource": service, "scopeSpans": [{"spans": list(spans)}]}]}
        requests.post(self.url("VIGIE_OTLP_PORT", "/v1/traces"), json=body, timeout=5).raise_for_status()

    def kept(self, trace: str) -> bool:
        return requests.get(self.url("VIGIE_JAEGER_PORT", f"/api/v3/traces/{trace}"), timeout=5).status_code == 200

    def query(self, text: str) -> list[dict[str, Any]]:
        answer = requests.get(self.url("VIGIE_PROMETHEUS_PORT", "/api/v1/query"), params={"query": text}, timeout=5)
        return list(answer.json()["data"]["result"])


@pytest.fixture(scope="module")
def called() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Where operators are told of alerts: the address, and what was sent there."""
    told: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/alerts", told
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
    free_ports: Callable[[int], list[int]],
    called: tuple[str, list[dict[str, Any]]],
) -> Iterator[Watchers]:
    state = State(tmp_path_factory.mktemp("with space"))
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    ports = dict(zip(SETTINGS, map(str, free_ports(len(SETTINGS))), strict=True))
    webhook, told = called
    made = Watchers(outer | ports | {"VIGIE_STATE": str(state.root), "VIGIE_ALERT_WEBHOOK": webhook}, state, told)
    done = made.run("up", "--only", WATCHERS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Not watched" not in done.stdout
    yield made
    made.run("down")


def span(name: str, **attributes: str) -> dict[str, Any]:
    """A span of a trace of its own."""
    now = time.time_ns()
    return {
        "traceId": secrets.token_hex(16),
        "spanId": secrets.token_hex(8),
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(now - 1_000_000),
        "endTimeUnixNano": str(now),
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
    }


def wait(so: Callable[[], bool], for_s: float = 60) -> None:
    ends = time.monotonic() + for_s
    while not so():
        assert time.monotonic() < ends, f"it did not come to be so in {for_s} s"
        time.sleep(0.2)


def test_a_followed_users_trace_is_kept_through_a_restart_and_few_of_the_others(running: Watchers):
    followed = span("journey", **{"vigie.journey": "true"})
    failed = span("broken") | {"status": {"code": 2}}
    others = [span("other") for _ in range(200)]
    running.send(followed, failed, *others)
    wait(lambda: running.kept(followed["traceId"]) and running.kept(failed["traceId"]))
    assert sum(running.kept(one["traceId"]) for one in others) < 40
    supervise.stop(running.state, "jaeger")
    supervise.start(running.state, "jaeger")
    wait(lambda: answers(running.url("VIGIE_JAEGER_PORT", "/api/services")))
    assert running.kept(followed["traceId"])


def test_every_span_is_counted_by_prometheus_also_those_that_are_not_kept(running: Watchers):
    running.send(*(span("counted") for _ in range(50)))
    asked = 'traces_span_metrics_duration_seconds_count{span_name="counted"}'
    wait(lambda: [one["value"][1] for one in running.query(asked)] == ["50"])
    ours = {"service_name", "span_kind", "span_name", "status_code"}
    assert set(running.query(asked)[0]["metric"]) == {"__name__", "instance", "job"} | ours


def test_prometheus_has_read_the_rules_and_found_the_alertmanager(running: Watchers):
    found = requests.get(running.url("VIGIE_PROMETHEUS_PORT", "/api/v1/rules"), timeout=5).json()
    assert found["data"]["groups"]
    wait(lambda: bool(alertmanagers(running)))
    assert alertmanagers(running) == [running.url("VIGIE_ALERTMANAGER_PORT", "/api/v2/alerts")]


def test_the_webhook_is_called_for_what_fires(running: Watchers):
    def told(name: str) -> bool:
        alerts = [alert for message in running.told for alert in message["alerts"]]
        return any(alert["labels"]["alertname"] == name and alert["status"] == "firing" for alert in alerts)

    wait(lambda: told("Watchdog"))
    page = {"labels": {"alertname": "Planted", "severity": "page"}, "annotations": {"summary": "a test"}}
    address = running.url("VIGIE_ALERTMANAGER_PORT", "/api/v2/alerts")
    requests.post(address, json=[page], timeout=5).raise_for_status()
    wait(lambda: told("Planted"), for_s=20)


def test_the_three_together_take_little_memory(running: Watchers):
    found = running.run("status", "--json")
    lines = {line["name"]: line for line in json.loads(found.stdout)["processes"]}
    memory = {name: lines[name]["memory"] / 2**20 for name in WATCHERS.split(",")}
    assert sum(memory.values()) < 280, memory


def test_down_ends_the_watchers(running: Watchers):
    done = running.run("down")
    assert done.returncode == 0, done.stdout
    assert leftovers.marked(running.state.root) == []


def alertmanagers(running: Watchers) -> list[str]:
    answer = requests.get(running.url("VIGIE_PROMETHEUS_PORT", "/api/v1/alertmanagers"), timeout=5).json()
    return [one["url"] for one in answer["data"]["activeAlertmanagers"]]


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False
