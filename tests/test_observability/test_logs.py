"""A log line is one JSON object with its fields; a lock is held by one."""

import json
import logging

import pytest
from opentelemetry.sdk.trace import TracerProvider

from observability import lock, logs
from observability.logs import JsonLines


def test_a_line_is_json_with_its_fields_and_its_error():
    record = logging.LogRecord("services.x", logging.ERROR, "f", 1, "page\nkept", (), None)
    record.fields = {"page": 3, "users": {1, 2}, "path": object}
    line = JsonLines("ingest").format(record)
    assert "\n" not in line
    said = json.loads(line)
    assert (said["service"], said["level"], said["event"], said["page"]) == ("ingest", "error", "page\nkept", 3)


def test_a_lock_is_held_by_one_until_its_end(tmp_path):
    file = tmp_path / "new" / "lock"
    with (
        lock.alone(file, "one is at work"),
        pytest.raises(lock.Held, match="one is at work"),
        lock.alone(file, "one is at work"),
    ):
        pass
    with lock.alone(file, "again"):
        pass


def test_a_line_that_repeats_is_left_out_and_the_next_tells_how_often():
    now = [0.0]
    repeats = logs.Repeats(lambda: now[0])
    record = logging.LogRecord("services.x", logging.WARNING, "", 0, "again", (), None)
    assert [repeats.filter(record) for _ in range(logs.BURST + 5)].count(False) == 5
    now[0] = logs.WINDOW_S + 1
    assert repeats.filter(record)
    assert record.left_out == 5
    assert repeats.counted == {("warning", "yes"): logs.BURST + 1, ("warning", "suppressed"): 5}


def test_no_batch_of_a_lane_is_taken_for_a_repeat():
    """As fast as small ones can follow each other, whatever VIGIE_TRIGGER_MS says, for a minute."""
    now = [0.0]
    repeats = logs.Repeats(lambda: now[0])
    every_s = 0.35
    for n in range(int(60 / every_s)):
        now[0] = n * every_s
        for lane in ("raw", "stats"):
            record = logging.LogRecord("spark.progress", logging.INFO, "", 0, "batch done", (), None)
            record.fields = {"lane": lane, "batch": n}
            assert repeats.filter(record), (lane, n)


def test_a_line_within_a_span_has_its_ids():
    record = logging.LogRecord("services.x", logging.INFO, "", 0, "said", (), None)
    provider = TracerProvider(shutdown_on_exit=False)
    with provider.get_tracer("test").start_as_current_span("one") as span:
        line = json.loads(logs.JsonLines("ingest").format(record))
    assert line["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert line["hop"] == "services.x"


def test_a_refused_login_to_kafka_is_told_and_its_other_warnings_are_not(capsys, monkeypatch):
    logs.start("ingest")
    connections = logging.getLogger("kafka.net.manager")
    connections.warning(
        "Bootstrap connection failed: %s", "[Error 58] SaslAuthenticationFailedError: invalid credentials"
    )
    connections.warning("Bootstrap not ready")
    monkeypatch.setattr(logging.getLogger("kafka"), "level", logging.CRITICAL)
    connections.error("Bootstrap failed")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "invalid credentials" in told[0]
