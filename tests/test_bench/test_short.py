"""The short form of the bench on the real engines: that it measures everything, and never how fast."""

import json
import os
import subprocess
import sys

import pytest

from bench.__main__ import MEASURES
from bench.readers import LANES, PEERS
from bench.result import OURS, load

SUBJECTS = {
    "ingest": {"limit: kafka-python sends", "limit: JVM client sends", "part: outbox keeps", "a call a user"},
    "raw": {"limit: MongoDB inserts", "limit: kafka-python reads", "limit: JVM client reads"},
    "stats": {"limit: Cassandra writes", "limit: Spark reads"},
    "end-to-end": {"MongoDB", "Cassandra", *(kind.name for kind in PEERS if not kind.absent)},
    "telemetry": {"watchers held"},
    "traces": {"telemetry off"},
    "growth": set(),
    "trial": {"tried"},
    "dashboard": {"sums", "newest users", "count of users", "refresh"},
    "viewers": {"refresh", "first run", "server"},
}
ABOVE_0 = {"drained", "over the network", "state", "state, memory"}
ABOVE_0 |= {"ingested", "answered, p50", "p95"}


@pytest.mark.engines
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", MEASURES)
def test_the_short_form_measures(what, tmp_path):
    env = os.environ | {"VIGIE_STATE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "bench", what, "--short"],
        env=env,
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    file = next((tmp_path / "bench").glob("*.json"))
    found = load(file)
    assert {one.subject for one in found.samples} >= SUBJECTS[what] | {OURS}
    assert all(one.value > 0 for one in found.samples if one.metric in ABOVE_0)
    assert found.short
    assert LANES.name == OURS
    assert json.loads(file.read_text())["machine"]["processors"]
    assert "## " in file.with_suffix(".md").read_text()
    assert "<svg" in file.with_suffix(".html").read_text() or what == "growth"
