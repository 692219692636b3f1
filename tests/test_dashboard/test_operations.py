"""The operations page as Streamlit runs it, behind the way in, over a server that answers like Prometheus, or not."""

from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest
import streamlit as st
from prometheus_client import generate_latest
from streamlit.testing.v1 import AppTest

from dashboard import app, board, operations, runbook
from dashboard.stores import Down, Reading, Stores
from observability import metrics, names

QUERY, RANGE, TARGETS, ALERTS = (f"/api/v1/{what}" for what in ("query", "query_range", "targets", "alerts"))
ROUTED = "/api/v2/alerts"
NOT_KNOWN = ["### :gray[Not known]"] * 4


@pytest.fixture
def page(answering, monkeypatch):
    """The operations page over `answering`, by way of the users' page, whose stores are known to be down."""
    gone = Down("Cassandra", "a:1", "it cannot be reached", datetime.now(UTC))
    monkeypatch.setattr(Stores, "read", lambda self: Reading(gone, gone, gone))
    monkeypatch.setenv("VIGIE_PROMETHEUS_PORT", str(answering.port))
    monkeypatch.setenv("VIGIE_ALERTMANAGER_PORT", str(answering.port))

    def shown() -> AppTest:
        way_in = AppTest.from_file(app.__file__, default_timeout=20).run()
        found = way_in.switch_page(operations.__file__).run()
        assert not found.exception
        return found

    return shown


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def target(job: str, health: str = "up", seconds: float = 1, error: str = "") -> dict:
    labels = {"job": job, "instance": "a:1"}
    return {"labels": labels, "health": health, "lastError": error, "lastScrape": ago(seconds)}


def alert(name: str, severity: str, seconds: float, **annotations: str) -> dict:
    labels = {"alertname": name, "severity": severity}
    return {"labels": labels, "annotations": annotations, "state": "firing", "activeAt": ago(seconds)}


def value(name: str, found: float, **labels: str) -> dict:
    return {"metric": labels | {"is": name}, "value": [0, str(found)]}


def works(answering) -> None:
    """A system that is well, in Prometheus's words."""
    lanes = [
        value(name, found, lane=lane)
        for lane in board.LANES
        for name, found in (("lane_up", 1), ("p50", 1.2), ("p95", 2.5), ("behind", 0))
    ]
    gaps = [value("gap", 0, check=check) for check in board.RATES]
    answering.says(QUERY, {"resultType": "vector", "result": [*lanes, *gaps, value("audit_age", 3)]})
    answering.says(TARGETS, {"activeTargets": [target("ingest"), target("spark")]})
    answering.says(ALERTS, {"alerts": [alert("Watchdog", "none", 900)]})
    points = [{"metric": {"lane": "raw", "quantile": "p50"}, "values": [[datetime.now(UTC).timestamp(), "1.2"]]}]
    answering.says(RANGE, {"resultType": "matrix", "result": points})


def answered(shown: AppTest) -> list[str]:
    return [text.value.partition("\n")[2] for text in shown.markdown if "?\n###" in text.value]


def test_a_system_that_is_well_answers_the_four_questions(answering, page):
    works(answering)
    shown = page()
    assert answered(shown) == [
        "### :green[Yes]",
        "### :green[2.5 s]",
        "### :green[Nothing]",
        "### :green[Nothing]",
    ]
    assert not shown.error
    assert not shown.warning
    assert len(shown.table) == 3  # lanes, hops, promises


def test_what_broke_first_is_named_and_on_top_of_the_alerts(answering, page):
    works(answering)
    later = alert("Later", "ticket", 60)
    answering.says(ALERTS, {"alerts": [later, alert("Earlier", "page", 600, runbook="docs/runbooks/earlier.md")]})
    answering.says(ROUTED, [{"labels": later["labels"], "status": {"state": "suppressed"}}])
    shown = page()
    assert answered(shown)[0] == "### :red[No]"
    assert answered(shown)[3] == "### :red[Earlier]"
    table = shown.table[0].value
    assert list(table["Alert"]) == ["**Earlier**", "**Later**"]
    assert list(table["State"]) == [":red-badge[page, firing]", ":orange-badge[ticket, firing, silenced]"]
    assert list(table["Runbook"]) == ["[earlier](/runbook?name=earlier)", "—"]


def test_with_prometheus_gone_the_page_says_so_and_shows_no_number(nobody, answering, page, monkeypatch):
    monkeypatch.setenv("VIGIE_PROMETHEUS_PORT", str(nobody))
    shown = page()
    assert answered(shown) == NOT_KNOWN
    assert shown.error[0].value.startswith(f"**Prometheus** at 127.0.0.1:{nobody} is unavailable since ")
    assert not shown.table


def test_without_watchers_the_page_says_that_none_are_wanted(nobody, page, monkeypatch):
    monkeypatch.setenv("VIGIE_PROMETHEUS_PORT", str(nobody))
    monkeypatch.setenv("VIGIE_WATCH", "0")
    assert [info.value for info in page().info] == [operations.NO_WATCHERS]


def test_a_prometheus_that_knows_nothing_yet_is_no_error(page):
    shown = page()
    assert answered(shown) == NOT_KNOWN
    assert "Prometheus is there, but nobody has answered it yet." in [caption.value for caption in shown.caption]
    assert not shown.error
    assert not shown.table


def test_a_prometheus_that_asks_but_has_no_value_shows_dashes(answering, page):
    answering.says(TARGETS, {"activeTargets": [target("ingest")]})
    shown = page()
    assert answered(shown)[1:3] == ["### :gray[Not known]"] * 2
    assert set(shown.table[1].value["p95"]) == {"—"}
    assert "No user has reached a store in the last 15 minutes." in [caption.value for caption in shown.caption]


def test_old_numbers_are_not_shown(answering, page):
    works(answering)
    answering.says(TARGETS, {"activeTargets": [target("ingest", seconds=120)]})
    shown = page()
    assert answered(shown) == NOT_KNOWN
    assert not shown.table


@pytest.mark.parametrize("path", [QUERY, TARGETS, ALERTS])
@pytest.mark.parametrize("body", [b"<html>", b'{"data": {"result": 7, "activeTargets": {}, "alerts": ""}}', b"\xff"])
def test_garbage_for_an_answer_is_told_in_words(answering, page, path, body):
    works(answering)
    answering.answers[path] = (200, body)
    shown = page()
    assert answered(shown) == NOT_KNOWN
    assert "its answer is none that it should give" in shown.error[0].value


def test_garbage_for_the_chart_leaves_the_rest(answering, page):
    works(answering)
    answering.answers[RANGE] = (200, b"<html>")
    shown = page()
    assert answered(shown)[0] == "### :green[Yes]"
    assert any("Waiting for Prometheus's history" in caption.value for caption in shown.caption)


def test_with_the_alertmanager_gone_the_page_says_that_nobody_is_told(nobody, answering, page, monkeypatch):
    works(answering)
    monkeypatch.setenv("VIGIE_ALERTMANAGER_PORT", str(nobody))
    shown = page()
    assert "nobody is told of it" in shown.warning[0].value
    assert answered(shown)[0] == "### :green[Yes]"


def test_a_prometheus_that_hangs_holds_the_page_up_for_three_seconds_at_most(answering, page):
    answering.release.clear()
    shown = page()
    st.cache_data.clear()
    began = monotonic()
    shown.run()
    assert monotonic() - began < 3
    assert answered(shown) == NOT_KNOWN
    assert "it does not answer" in shown.error[0].value


def test_two_viewers_are_one_question(answering, page):
    works(answering)
    page()
    asked = len(answering.asked)
    page()
    assert len(answering.asked) == asked


def test_grafana_is_a_link_only_where_one_answers(answering, page, monkeypatch):
    links = page().caption[0].value
    assert "[Spark](" in links
    assert "an API here, no page: Prometheus `" in links
    assert "Grafana" not in links
    st.cache_resource.clear()
    st.cache_data.clear()
    answering.answers["/api/health"] = (200, b'{"database": "ok"}')
    monkeypatch.setenv("VIGIE_GRAFANA_PORT", str(answering.port))
    assert f":{answering.port})" in page().caption[0].value.partition("[Grafana](")[2]


def test_a_wrong_setting_is_named_on_the_page(page, monkeypatch):
    monkeypatch.setenv("VIGIE_GRAFANA_PORT", "many")
    assert "VIGIE_GRAFANA_PORT" in page().error[0].value


def test_what_the_pages_did_is_in_the_metrics(answering, page):
    works(answering)
    page()
    text = generate_latest(metrics.REGISTRY).decode()
    assert f'{names.PAGE_SECONDS.name}_count{{page="live"}}' in text
    assert f'{names.PAGE_SECONDS.name}_count{{page="operations"}}' in text
    assert f'{names.PAGE_READS.name}{{outcome="ok",source="prometheus"}}' in text
    assert f'{names.PAGE_READS.name}{{outcome="ok",source="alertmanager"}}' in text
    assert f'{names.PAGE_READS.name}{{outcome="down",source="cassandra"}}' in text
    assert f"{names.PAGE_VIEWERS.name} " in text


def test_a_runbook_is_shown_by_its_name_and_only_from_its_folder(tmp_path):
    (tmp_path / "lost.md").write_text("# Lost")
    (tmp_path.parent / "secret.md").write_text("not for you")
    assert runbook.found(tmp_path, "lost") == "# Lost"
    assert [runbook.found(tmp_path, name) for name in ("../secret", "", "*", "lost.md")] == [None] * 4


def test_a_runbook_that_is_not_there_is_told_in_words():
    way_in = AppTest.from_file(app.__file__, default_timeout=20).run()
    way_in.query_params["name"] = "none"
    shown = way_in.switch_page(runbook.__file__).run()
    assert not shown.exception
    assert "There is no runbook named" in shown.info[0].value
