"""
What is exported, asked and alerted on, on the running system: nothing is unseen, and watching never stops the work.

The alerts' arithmetic is tested by promtool (tests/test_observability/test_rules.py); here processes are really gone.
"""

import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
import requests
import streamlit as st
import yaml
from streamlit.testing.v1 import AppTest

from dashboard import app, boards
from grafana import catalogue
from observability import names
from observability.settings import ROOT
from spark.contract import DATABASE, USERS

pytestmark = [pytest.mark.engines, pytest.mark.timeout(400)]

JOBS = {
    "ingest", "spark", "dashboard", "auditor", "exporter", "simulator", "kafka", "cassandra", "spark-ui",
    "prometheus", "alertmanager", "jaeger", "spanmetrics",
}  # fmt: skip
OF_HISTOGRAMS = re.compile(r"_(bucket|sum|count)$")
WAY = ("page", "GET", "keep", "send users.raw", "process users.raw", "write mongodb", "write cassandra")


def rules() -> list[dict[str, str]]:
    files = sorted((ROOT / "observability" / "prometheus" / "rules").glob("*.yml"))
    return [rule for file in files for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def test_every_target_is_up(stack):
    stack.until(lambda: {one["metric"]["job"] for one in stack.ask("up == 1")} >= JOBS)
    stack.until(lambda: not stack.ask("up == 0"))  # whoever was just started again is asked every 15 s


def test_every_metric_that_is_exported_is_one_of_the_names(stack):
    found = {one["metric"]["__name__"] for one in stack.ask('count by (__name__) ({__name__=~"vigie_.+"})')}
    known = {one.name for one in names.METRICS}
    assert {name for name in found if OF_HISTOGRAMS.sub("", name) not in known and name not in known} == set()


def test_every_question_of_every_dashboard_has_an_answer(stack):
    def unanswered() -> list[str]:
        return [f"{board}, {panel}: {asked}" for board, panel, asked in questions if not stack.ask(asked)]

    questions = catalogue.expressions()
    assert len(questions) > 100
    requests.get(f"http://127.0.0.1:{stack.env['VIGIE_DASHBOARD_PORT']}/", timeout=10).raise_for_status()
    ends = time.monotonic() + 60
    while (left := unanswered()) and time.monotonic() < ends:
        time.sleep(3)
    assert left == []


@pytest.mark.parametrize("uid", sorted(one.uid for one in catalogue.BOARDS))
def test_every_panel_of_our_own_dashboards_page_shows_what_grafana_would(stack, uid, monkeypatch):
    for key, value in stack.env.items():
        if key.startswith("VIGIE_"):
            monkeypatch.setenv(key, value)
    monkeypatch.setenv("VIGIE_DASHBOARD_METRICS_PORT", "0")  # the running pages have it
    monkeypatch.setenv("VIGIE_OTLP_ENDPOINT", "off")
    st.cache_resource.clear()
    page = AppTest.from_file(app.__file__, default_timeout=60).run()
    page.query_params["board"] = uid
    page = page.switch_page(boards.__file__).run()
    page = page.button(key="boards-all").click().run()

    def empty() -> list[str]:
        """The panels that show nothing, by their titles."""
        found, title = [one.label for one in page.run().metric if one.value == "—"], ""
        assert not page.exception
        for one in page.main:
            title = one.value if one.type == "markdown" else title
            found += [title] if one.type == "caption" and one.value == "No data in this time." else []
        return found

    with suppress(AssertionError):
        stack.until(lambda: not empty(), limit_s=60)
    assert empty() == []
    assert [one.value for one in page.error] == []
    assert len(page.metric) + len(page.get("vega_lite_chart")) + len(page.dataframe) > 10


def test_every_rule_is_evaluated_and_every_recorded_one_has_data(stack):
    recorded = [rule["record"] for rule in rules() if "record" in rule]
    stack.until(lambda: not [name for name in recorded if not stack.ask(name)], limit_s=60)
    address = f"http://127.0.0.1:{stack.env['VIGIE_PROMETHEUS_PORT']}/api/v1/rules"
    groups = requests.get(address, timeout=10).json()["data"]["groups"]
    told = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert set(told) == {rule.get("record") or rule["alert"] for rule in rules()}
    assert {name for name, health in told.items() if health != "ok"} == set()


def test_a_sampled_user_has_one_trace_from_the_call_to_both_stores(stack):
    address = f"http://127.0.0.1:{stack.env['VIGIE_JAEGER_PORT']}/api/traces"

    def spans_of_a_journey() -> list[dict]:
        asked = {"service": "ingest", "tags": '{"vigie.journey":"true"}', "lookback": "1h", "limit": 20}
        for trace in requests.get(address, asked, timeout=10).json().get("data") or []:
            if set(WAY) <= {span["operationName"] for span in trace["spans"]}:
                return list(trace["spans"])
        return []

    spans = stack.until(spans_of_a_journey, limit_s=90)
    (trace_id,) = {span["traceID"] for span in spans}
    with stack.mongo() as client:
        stored = client[DATABASE][USERS].find_one({"trace_id": trace_id})
    assert stored, "the raw document names the trace"
    told = stack.run("services.journey", stored["_id"])
    assert told.returncode == 0, told.stderr
    assert trace_id in told.stdout
    person = [stored["name"]["last"], stored["email"], stored["phone"], stored["location"]["street"]["name"]]
    held = told.stdout + requests.get(f"{address}/{trace_id}", timeout=10).text + stack.log("ingest")
    assert [one for one in person if one in held] == []


@pytest.mark.long
def test_the_auditor_sees_a_user_vanish_and_return(stack):
    stack.grown("stored", 1)
    with stack.mongo() as client:
        users = client[DATABASE][USERS]
        lost = users.find_one()
        users.delete_one({"_id": lost["_id"]})
        stack.until(lambda: stack.ask('vigie_audit_gap_users{check="stored"} >= 1'), limit_s=90)
        stack.until(lambda: "UsersMissing" in stack.firing(), limit_s=60)
        users.insert_one(lost)
    stack.until(lambda: not stack.ask('vigie_audit_gap_users{check="stored"} != 0'), limit_s=90)
    stack.until(lambda: "UsersMissing" not in stack.firing(), limit_s=60)


BROKEN_AT_ONCE = [  # program -> the alert that tells of it, and what the alert names
    {
        "kafka-2": ("BrokerDown", "kafka"),
        "ingest": ("TargetDown", "ingest"),
        "dashboard": ("TargetDown", "dashboard"),
        "jaeger": ("TargetDown", "jaeger"),
        "exporter": ("TargetDown", "exporter"),
        "auditor": ("TargetDown", "auditor"),
    },
    {
        "spark": ("LagGrowing", "stats"),  # first, so that ingestion goes on sending what it does not read
        "simulator": ("SourceDown", "source"),
        "cassandra": ("StoreDown", "cassandra"),
        "documents": ("StoreDown", "mongodb"),
        "": ("UsersLate", "mongodb"),
    },
]


@pytest.mark.long
@pytest.mark.parametrize("gone", BROKEN_AT_ONCE, ids=["watchers", "stores"])
def test_what_is_gone_is_told_and_taken_back(stack, gone: dict[str, tuple[str, str]], record_property: Callable):
    def told() -> set[tuple[str, str]]:
        return {(name, said) for name, ones in stack.firing().items() for one in ones for said in one.values()}

    wanted = set(gone.values())
    stack.until(lambda: stack.ask("vigie:watching:settled == 1"), limit_s=130)
    stack.until(lambda: not wanted & told(), limit_s=120)
    for name in filter(None, gone):
        stack.stop(name)
    began, after = time.monotonic(), {}
    while set(after) != wanted and time.monotonic() - began < 90:
        after |= {one: round(time.monotonic() - began) for one in wanted & told() - set(after)}
        time.sleep(1)
    for name in filter(None, gone):
        stack.start(name)
    record_property("seconds", str(after))
    print(after, sorted(set(stack.firing())))
    assert set(after) == wanted
    assert all(s <= 60 for (name, _), s in after.items() if name == "UsersLate"), "an operator is called in time"
    stack.until(lambda: not wanted & told(), limit_s=150)
    stack.audit()


def test_with_every_watcher_dead_or_frozen_users_flow_and_nothing_is_lost(stack):
    """Prometheus dies; Jaeger and the Alertmanager take connections and answer nothing."""
    stack.stop("prometheus")
    for name in ("jaeger", "alertmanager"):
        stack.signal(name, signal.SIGSTOP)
    try:
        before = time.monotonic()
        stack.grown("summed", 500)
        assert time.monotonic() - before < 45, "at 25 users/s"
    finally:
        for name in ("jaeger", "alertmanager"):
            stack.signal(name, signal.SIGCONT)
        stack.start("prometheus")
    stack.until(lambda: stack.ask('sum(vigie_spans_total{outcome=~"failed|dropped"}) > 0'), limit_s=90)
    stack.audit()
