import json
import time
from datetime import UTC, datetime

import pytest

from dashboard.prometheus import Alert, Api, Point, Sample, Target, number
from dashboard.stores import StoreDown

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def api(answering) -> Api:
    return Api(f"http://{answering.address}")


def test_values_are_read_with_their_labels_and_none_for_what_could_not_be_computed(answering, api):
    series = [{"metric": {"lane": "raw"}, "value": [1.5, "2.5"]}, {"metric": {}, "value": [1.5, "NaN"]}]
    answering.says("/api/v1/query", {"resultType": "vector", "result": series})
    assert api.query("up") == (Sample({"lane": "raw"}, 2.5), Sample({}, None))
    assert answering.asked == [("/api/v1/query", {"query": "up"})]


def test_points_of_a_range_are_read_without_those_that_are_none(answering, api):
    series = [{"metric": {"lane": "raw"}, "values": [[NOW.timestamp(), "2.5"], [NOW.timestamp() + 15, "NaN"]]}]
    answering.says("/api/v1/query_range", {"resultType": "matrix", "result": series})
    assert api.query_range("up", NOW, NOW, 15) == (Point({"lane": "raw"}, NOW, 2.5),)


def test_targets_and_alerts_are_read_the_oldest_alert_first(answering, api):
    target = {"labels": {"job": "ingest", "instance": "a:1"}, "health": "down", "lastError": "x" * 500, "more": 1}
    answering.says("/api/v1/targets", {"activeTargets": [target | {"lastScrape": "2026-11-24T12:00:00.123456Z"}]})
    alerts = [
        {"labels": {"alertname": name}, "annotations": {}, "state": "firing", "activeAt": f"2026-11-24T1{n}:00:00Z"}
        for n, name in ((2, "Second"), (1, "First"))
    ]
    answering.says("/api/v1/alerts", {"alerts": alerts})
    asked_at = NOW.replace(microsecond=123456)
    assert api.targets() == (Target("ingest", "a:1", "down", "x" * 120, asked_at),)
    first = Alert({"alertname": "First"}, {}, "firing", NOW.replace(hour=11))
    assert api.alerts() == (first, Alert({"alertname": "Second"}, {}, "firing", NOW))


def test_what_the_alertmanager_holds_back_is_told_by_its_labels(answering, api):
    answering.says(
        "/api/v2/alerts",
        [{"labels": {"alertname": name}, "status": {"state": name}} for name in ("suppressed", "active")],
    )
    assert api.suppressed() == ({"alertname": "suppressed"},)


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"<html>not yet</html>", "its answer is none that it should give"),
        (200, b'{"status": "success"}', "its answer is none that it should give"),
        (200, b'{"status": "success", "data": {"result": [{"value": "soon"}]}}', "its answer is none"),
        (200, b"\xff\xfe", "its answer is none that it should give"),
        (200, b"", "its answer is none that it should give"),
        (200, b'{"data": {"result": [{"value": [1, "many"]}]}}', "its answer has 'many' for a number"),
        (503, b"starting up", "it answers 503 to /api/v1/query: starting up"),
        (422, json.dumps({"status": "error", "error": "bad"}).encode(), "it answers 422"),
    ],
)
def test_an_answer_that_is_none_means_down_and_says_why(answering, api, status, body, why):
    answering.answers["/api/v1/query"] = (status, body)
    with pytest.raises(StoreDown, match=why):
        api.query("up")


def test_a_server_that_is_not_there_is_down_at_once(nobody):
    began = time.monotonic()
    with pytest.raises(StoreDown, match="it cannot be reached"):
        Api(f"http://127.0.0.1:{nobody}").query("up")
    assert time.monotonic() - began < 1


def test_a_server_that_hangs_is_down_within_three_seconds(answering, api):
    answering.release.clear()
    began = time.monotonic()
    with pytest.raises(StoreDown, match="it does not answer"):
        api.query("up")
    assert time.monotonic() - began < 3


def test_a_proxy_of_the_environment_is_not_asked(answering, api, nobody, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{nobody}")
    assert api.query("up") == ()


def test_infinities_are_no_numbers():
    assert [number(text) for text in ("+Inf", "-Inf", "NaN", "1e3")] == [None, None, None, 1000.0]
