"""The check of a running Grafana names what it lacks; CI runs it against the real one."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from grafana.served import DASHBOARDS, RULES, RUNBOOKS, SOURCES, asking, missing


def well() -> dict[str, Any]:
    """What a Grafana answers that has loaded everything."""
    answers: dict[str, Any] = {f"/api/datasources/uid/{uid}": {"url": "http://there"} for uid in SOURCES}
    for file in DASHBOARDS.glob("*.json"):
        ours = json.loads(file.read_text())
        told = {"meta": {"provisioned": True, "folderTitle": "Vigie"}, "dashboard": ours}
        answers[f"/api/dashboards/uid/{ours['uid']}"] = told
    named = re.findall(r"- (?:alert|record): (\S+)", "".join(file.read_text() for file in RULES.glob("*.yml")))
    groups = [{"rules": [{"name": name} for name in named]}]
    answers["/api/prometheus/vigie-prometheus/api/v1/rules"] = {"data": {"groups": groups}}
    answers["/api/datasources/uid/vigie-prometheus/health"] = {"status": "OK"}
    answers["/api/alertmanager/vigie-alertmanager/api/v2/status"] = {}
    answers.update({f"/public/vigie/runbooks/{file.name}": "text" for file in RUNBOOKS.glob("*.md")})
    return answers


def test_nothing_is_missing_when_all_is_loaded():
    assert missing(well().get) == []


def test_a_grafana_that_does_not_answer_lacks_everything():
    lacks = missing(lambda path: None)
    assert len([each for each in lacks if each.startswith("dashboard")]) == len(list(DASHBOARDS.glob("*.json")))
    assert f"data source {SOURCES[1]}" in lacks
    assert "rule Watchdog of causes.yml" in lacks


@pytest.mark.parametrize(
    ("path", "answer", "told"),
    [
        ("/api/dashboards/uid/vigie-kafka", None, "dashboard vigie-kafka"),
        ("/api/datasources/uid/vigie-jaeger", {"url": ""}, "data source vigie-jaeger"),
        ("/api/datasources/uid/vigie-prometheus/health", {"status": "ERROR"}, "does not reach Prometheus"),
        ("/api/alertmanager/vigie-alertmanager/api/v2/status", None, "does not reach the Alertmanager"),
        (
            "/api/dashboards/uid/vigie-self",
            {"meta": {"provisioned": False, "folderTitle": "Vigie"}, "dashboard": {"panels": []}},
            "not provisioned",
        ),
        (
            "/api/dashboards/uid/vigie-self",
            {"meta": {"provisioned": True, "folderTitle": "Vigie"}, "dashboard": {"panels": []}},
            "not with our panels",
        ),
    ],
)
def test_what_one_thing_lacks_is_named(path, answer, told):
    (only,) = missing((well() | {path: answer}).get)
    assert told in only


@pytest.fixture
def server() -> Iterator[str]:
    """A server that says who asked, as text or JSON, and knows no other path."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = {"/json": json.dumps({"by": self.headers["Authorization"]}), "/text": "# A runbook"}
            body = known.get(self.path)
            self.send_response(200 if body else 404)
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, *args: Any) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://admin:secret@127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()


def test_it_asks_as_the_administrator_and_takes_a_failure_for_nothing(server):
    ask = asking(server)
    assert ask("/json") == {"by": "Basic YWRtaW46c2VjcmV0"}
    assert ask("/text") == "# A runbook"
    assert ask("/elsewhere") is None
    assert asking("http://a:b@127.0.0.1:1")("/json") is None
