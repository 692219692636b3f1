"""`python -m dashboard` as Prometheus and a browser see it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import requests
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.sync.client import connect

from dashboard import process
from dashboard.__main__ import Settings, command, main
from observability import metrics, names

TIMEOUT_S = 30


@dataclass(frozen=True)
class Served:
    """The pages' process: its address, and what it tells Prometheus."""

    page: str
    scraped: str

    def metric(self, line: str) -> float | None:
        """A metric's value by the start of its line."""
        lines = requests.get(f"http://{self.scraped}/metrics", timeout=5).text.splitlines()
        return next((float(one.split()[-1]) for one in lines if one.startswith(line + " ")), None)


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < ends, f"not within {TIMEOUT_S} s"
        time.sleep(0.1)


def answers(address: str, path: str) -> bool:
    try:
        return requests.get(f"http://{address}{path}", timeout=5).ok
    except requests.ConnectionError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def served(tmp_path) -> Iterator[Served]:
    """The process, started in a folder that is not ours."""
    page, scraped = free_port(), free_port()
    ports = {"VIGIE_DASHBOARD_PORT": str(page), "VIGIE_DASHBOARD_METRICS_PORT": str(scraped)}
    env = os.environ | ports | {"VIGIE_STATE": str(tmp_path)}
    output = subprocess.DEVNULL
    running = subprocess.Popen([sys.executable, "-m", "dashboard"], env=env, cwd=tmp_path, stdout=output, stderr=output)
    try:
        until(lambda: answers(f"127.0.0.1:{scraped}", "/metrics"))
        until(lambda: answers(f"127.0.0.1:{page}", "/_stcore/health"))
        yield Served(f"127.0.0.1:{page}", f"127.0.0.1:{scraped}")
    finally:
        running.terminate()
        assert running.wait(TIMEOUT_S) == 0


def look(served: Served, page: str) -> None:
    """Look at a page as a browser does, until it was drawn, and be counted meanwhile."""
    with connect(f"ws://{served.page}/_stcore/stream", subprotocols=["streamlit"]) as browser:  # type: ignore[list-item]
        wanted = BackMsg()
        wanted.rerun_script.page_name = "" if page == "live" else page
        browser.send(wanted.SerializeToString())
        until(lambda: served.metric(f'{names.PAGE_SECONDS.name}_count{{page="{page}"}}') is not None)
        assert served.metric(names.PAGE_VIEWERS.name) == 1


def test_prometheus_is_answered_with_nobody_looking_and_told_of_each_page_that_is_looked_at(served):
    assert served.metric(names.PAGE_VIEWERS.name) == 0
    look(served, "live")
    look(served, "operations")
    until(lambda: served.metric(names.PAGE_VIEWERS.name) == 0)
    assert served.metric(f'{names.PAGE_READS.name}{{outcome="down",source="prometheus"}}') >= 1


def test_telemetry_is_started_once_however_often_a_script_runs():
    env = {"VIGIE_HOST": "127.0.0.1", "VIGIE_OTLP_ENDPOINT": "off"}
    process.start(lambda: env)
    n = len(list(metrics.REGISTRY.collect()))
    process.start(lambda: env)
    assert len(list(metrics.REGISTRY.collect())) == n


def test_a_run_that_is_broken_off_is_not_timed():
    timed = metrics.histogram(names.PAGE_SECONDS).labels("live")
    before = timed.collect()[0].samples
    with pytest.raises(KeyError), process.run_of("live"):
        raise KeyError
    assert timed.collect()[0].samples == before


def test_the_settings_come_first_and_further_words_after_them():
    words = command(Settings("192.0.2.1", 1), ["--server.port", "2"])
    assert words[:6] == ["run", words[1], "--server.port", "1", "--server.address", "192.0.2.1"]
    assert words[-2:] == ["--server.port", "2"]


def test_a_wrong_setting_stops_the_start_and_names_the_key(monkeypatch, capsys):
    monkeypatch.setenv("VIGIE_DASHBOARD_PORT", "many")
    assert main([]) == 2
    assert "VIGIE_DASHBOARD_PORT" in capsys.readouterr().err
