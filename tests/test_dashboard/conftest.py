"""A server of our own that answers like Prometheus and the Alertmanager, and an environment without either."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import streamlit as st


class Answering:
    """An HTTP server on a free port: what it answers to each path is the test's, what it was asked is kept."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.release = threading.Event()  # cleared, it holds back every answer
        self.release.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                outer.asked.append((parts.path, {key: found[0] for key, found in parse_qs(parts.query).items()}))
                outer.release.wait(10)
                status, body = outer.answers.get(parts.path, (404, b"no such page"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                with suppress(ConnectionError):  # who asked has given up waiting
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def says(self, path: str, data: Any) -> None:
        """Answer with this, as Prometheus wraps it, or as the Alertmanager does not."""
        whole = data if path.startswith("/api/v2") else {"status": "success", "data": data}
        self.answers[path] = (200, json.dumps(whole).encode())

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Prometheus and Alertmanager in one, that run and know of nothing."""
    server = Answering()
    server.says("/api/v1/query", {"resultType": "vector", "result": []})
    server.says("/api/v1/query_range", {"resultType": "matrix", "result": []})
    server.says("/api/v1/targets", {"activeTargets": []})
    server.says("/api/v1/alerts", {"alerts": []})
    server.says("/api/v2/alerts", [])
    yield server
    server.close()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def nobody() -> int:
    """A port on which nobody listens."""
    return closed_port()


@pytest.fixture(autouse=True)
def _no_cache() -> None:
    """What an earlier test's page has kept is not there."""
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No stores, no watchers, no port of our own, no system that happens to run."""
    monkeypatch.setenv("VIGIE_STATE", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("VIGIE_DASHBOARD_METRICS_PORT", "0")
    monkeypatch.setenv("VIGIE_OTLP_ENDPOINT", "off")
    monkeypatch.setenv("VIGIE_CASSANDRA_HOSTS", "127.0.0.1")
    monkeypatch.setenv("VIGIE_CASSANDRA_PORT", str(closed_port()))
    monkeypatch.setenv("VIGIE_MONGO_URI", f"mongodb://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("VIGIE_GRAFANA_PORT", str(closed_port()))
    monkeypatch.setenv("VIGIE_PROMETHEUS_PORT", str(closed_port()))
    monkeypatch.setenv("VIGIE_ALERTMANAGER_PORT", str(closed_port()))
