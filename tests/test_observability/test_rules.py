"""Every alert says what to do, asks for what exists, and has been seen to fire and to stay silent."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from engines import builds
from observability import names
from observability.settings import ROOT

HERE = ROOT / "observability" / "prometheus"
RULE_FILES, TEST_FILES = sorted(HERE.glob("rules/*.yml")), sorted(HERE.glob("tests/*.yml"))
ROUTING = HERE / "alertmanager.yml"

SEVERITIES = {"page", "ticket", "none"}
PARTS = {"source", "outbox", "kafka", "lanes", "mongodb", "cassandra", "watchers", "pipeline"}
UIDS = {json.loads(file.read_text())["uid"] for file in (ROOT / "grafana" / "dashboards").glob("*.json")}
DASHBOARD = "http://127.0.0.1:3000/d/"

# What others name: Prometheus of its targets, the watchers of themselves, and the brokers' agent (its jmx.yaml).
WATCHERS_OWN = {
    "up",
    "process_start_time_seconds",
    "prometheus_rule_evaluation_failures_total",
    "prometheus_notifications_errors_total",
    "alertmanager_notifications_failed_total",
    "ALERTS",
}
BROKERS_OWN = {
    "kafka_active_controller",
    "kafka_offline_log_directories",
    "kafka_offline_partitions",
    "kafka_under_min_isr_partitions",
    "kafka_under_replicated_partitions",
}
FROM_PROMETHEUS = {"job", "instance", "broker", "le"}
FREE = ("every", "its number", "number of")  # how names.py says that a label's values are not listed

WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
OPERATORS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "inf", "nan"}

Rule = dict[str, Any]


def rules() -> Iterator[Rule]:
    for file in RULE_FILES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


ALERTS: dict[str, Rule] = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
CASES: list[Rule] = [case for file in TEST_FILES for case in yaml.safe_load(file.read_text())["tests"]]
each_alert = pytest.mark.parametrize("name", ALERTS)


def asked(expression: str) -> set[str]:
    """The metrics that a PromQL expression names."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"[a-zA-Z_]\w*\s*\(", "(", bare)  # functions
    bare = re.sub(r"(?<![\w:])\d[\w.]*", " ", bare)  # numbers, durations
    return set(WORD.findall(bare)) - OPERATORS


def known(metric: str) -> bool:
    """Whether somebody exports a metric of this name, or a rule records it."""
    if metric in RECORDED | WATCHERS_OWN | BROKERS_OWN:
        return True
    return of_ours(metric) is not None


def of_ours(metric: str) -> names.Metric | None:
    """Our metric that is exported under this name."""
    for one in names.METRICS:
        parts = [f"{one.name}{end}" for end in ("_bucket", "_count", "_sum")]
        if metric in (parts if one.kind == names.HISTOGRAM else [one.name]):
            return one
    return None


def values(label: str) -> set[str] | None:
    """The values that names.py lists for a label; None where it lists none."""
    if any(word in label for word in FREE):
        return None
    return set(re.findall(r"[a-z0-9_.]+(?: raw| stats| users)?", re.sub(r"\([^)]*\)", "", label)))


def seen(name: str) -> Iterator[list[str]]:
    """What the promtool tests expect of `ALERTS` for this alert while it fires: the labels of each sample."""
    for case in CASES:
        for test in case.get("promql_expr_test", []):
            if f'alertname="{name}", alertstate="firing"}}' in test["expr"]:
                yield [sample["labels"] for sample in test["exp_samples"]]


def headings(runbook: Path) -> set[str]:
    return {line[3:].strip() for line in runbook.read_text().splitlines() if line.startswith("## ")}


def test_there_are_alerts_and_dashboards_to_test():
    assert len(ALERTS) > 30
    assert len(UIDS) == 7


@each_alert
def test_an_alert_says_how_urgent_it_is_what_it_is_of_and_what_it_means(name: str):
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in SEVERITIES
    assert set(alert["annotations"]) == {"summary", "description", "dashboard", "runbook"}
    assert re.search(r"\bgood is\b", alert["annotations"]["description"], re.IGNORECASE)
    parts = {found for labels in seen(name) for one in labels for found in re.findall(r'part="(\w+)"', one)}
    assert parts
    assert parts <= PARTS


@each_alert
def test_an_alert_leads_to_a_dashboard_that_exists(name: str):
    uid = ALERTS[name]["annotations"]["dashboard"].removeprefix(DASHBOARD)
    assert uid in UIDS


@each_alert
def test_an_alert_leads_to_its_place_in_a_runbook(name: str):
    file, _, anchor = ALERTS[name]["annotations"]["runbook"].partition("#")
    assert anchor == name.lower()
    assert name in headings(ROOT / file)


def test_runbooks_speak_of_no_alert_that_is_not():
    spoken = {heading for file in (ROOT / "docs" / "runbooks").glob("*.md") for heading in headings(file)}
    assert spoken == set(ALERTS)


@each_alert
def test_an_alert_is_seen_to_fire_and_to_stay_silent(name: str):
    outcomes = [bool(labels) for labels in seen(name)]
    assert True in outcomes
    assert False in outcomes or name == "Watchdog"


@each_alert
def test_a_label_that_an_alert_speaks_of_is_there_when_it_fires(name: str):
    alert = ALERTS[name]
    spoken = set(re.findall(r"\$labels\.(\w+)", " ".join([*alert["annotations"].values(), *alert["labels"].values()])))
    optional = set(re.findall(r"\{\{ with \$labels\.(\w+)", alert["annotations"]["summary"]))
    for labels in filter(None, seen(name)):
        for one in labels:
            assert spoken - optional <= {label for label, _, _ in MATCHER.findall(one)}


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: rule.get("alert") or rule.get("record"))
def test_a_rule_asks_for_metrics_that_somebody_exports(rule: Rule):
    assert {metric for metric in asked(str(rule["expr"])) if not known(metric)} == set()


def test_queries_within_annotations_ask_for_metrics_that_somebody_exports():
    queries = [
        query
        for alert in ALERTS.values()
        for text in alert["annotations"].values()
        for pair in re.findall(r'query (?:`([^`]*)`|"([^"]*)")', text)
        for query in pair
        if query
    ]
    assert queries
    assert {metric for query in queries for metric in asked(query) if not known(metric)} == set()


def test_the_brokers_agent_exports_what_is_said_of_it():
    agent = yaml.safe_load((ROOT / "engines" / "kafka" / "jmx.yaml").read_text())
    assert {rule["name"] for rule in agent["rules"]} >= BROKERS_OWN


def selectors() -> Iterator[tuple[str, str]]:
    """Every selector of rules, and of the series that their tests are fed with."""
    for rule in rules():
        yield from SELECTOR.findall(str(rule["expr"]))
    for case in CASES:
        for series in case["input_series"]:
            yield from SELECTOR.findall(series["series"])


def test_rules_and_their_tests_use_labels_and_values_that_the_metrics_have():
    wrong = []
    for metric, matchers in selectors():
        ours = of_ours(metric)
        if ours is None:
            continue
        for label, sign, value in MATCHER.findall(matchers):
            if label in FROM_PROMETHEUS:
                continue
            listed = values(ours.labels.get(label, ""))
            options = value.split("|") if sign == "=~" and "(" not in value else [value]
            if label not in ours.labels or (listed is not None and "(" not in value and not set(options) <= listed):
                wrong.append(f"{metric}{{{label}{sign}{value!r}}}")
    assert sorted(set(wrong)) == []


def test_series_that_tests_are_fed_with_exist():
    fed = {re.split(r"[{\s]", series["series"])[0] for case in CASES for series in case["input_series"]}
    assert {metric for metric in fed if not known(metric)} == set()


def routing() -> Rule:
    return yaml.safe_load(ROUTING.read_text())


def test_every_severity_has_a_receiver_that_exists():
    receivers = {one["name"] for one in routing()["receivers"]}
    routes = routing()["route"]["routes"]
    assert receivers == {"page", "ticket", "watchdog"}
    assert {route["receiver"] for route in routes} == receivers
    assert {value for route in routes for _, _, value in MATCHER.findall(" ".join(route["matchers"]))} == SEVERITIES


def test_inhibitions_name_alerts_that_exist_on_both_sides():
    for rule in routing()["inhibit_rules"]:
        for side in ("source_matchers", "target_matchers"):
            found = [value for text in rule[side] for label, _, value in MATCHER.findall(text) if label == "alertname"]
            assert found, rule
            assert set("|".join(found).split("|")) <= set(ALERTS), rule


def severities(rule: Rule, side: str) -> set[str]:
    """How urgent the alerts are that one side of an inhibition names."""
    text = " ".join(rule[side])
    found = [value for label, _, value in MATCHER.findall(text) if label == "alertname"]
    return {ALERTS[name]["labels"]["severity"] for name in "|".join(found).split("|")}


def test_what_pages_is_silenced_by_nothing_but_another_page():
    for rule in routing()["inhibit_rules"]:
        if "page" in severities(rule, "target_matchers"):
            assert severities(rule, "source_matchers") == {"page"}, rule


@pytest.fixture(scope="module")
def promtool() -> str:
    found = builds.named("prometheus") / "promtool"
    assert found.is_file(), "python -m engines.fetch builds it"
    return str(found)


@pytest.mark.engines
def test_promtool_accepts_every_rule(promtool: str):
    command = [promtool, "check", "rules", "--lint=all", "--lint-fatal", *map(str, RULE_FILES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.engines
@pytest.mark.parametrize("file", TEST_FILES, ids=lambda file: file.stem)
def test_promtool_sees_every_rule_do_what_its_tests_say(promtool: str, file: Path):
    command = [promtool, "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[..., set[str]]]:
    """A real Alertmanager with our configuration: say which alerts fire, get those of which somebody is told."""
    program = builds.named("alertmanager") / "alertmanager"
    assert program.is_file(), "python -m engines.fetch builds it"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = [
        str(program),
        f"--config.file={ROUTING}",
        f"--storage.path={tmp_path}",
        "--cluster.listen-address=",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answer(path: str, **options: Any) -> requests.Response:
        ends = time.monotonic() + 20
        while True:
            try:
                return requests.request("POST" if options else "GET", f"{url}/api/v2/{path}", timeout=5, **options)
            except requests.ConnectionError:
                assert process.poll() is None
                assert time.monotonic() < ends
                time.sleep(0.1)

    def say(*firing: dict[str, str]) -> set[str]:
        labelled = [ALERTS[one["alertname"]]["labels"] | one for one in firing]
        answer("alerts", json=[{"labels": labels} for labels in labelled]).raise_for_status()
        ends = time.monotonic() + 20
        while len(found := answer("alerts").json()) < len(firing) or any(
            one["status"]["state"] == "unprocessed" for one in found
        ):
            assert time.monotonic() < ends
            time.sleep(0.2)
        return {named(one["labels"]) for one in found if not one["status"]["inhibitedBy"]}

    yield say
    process.terminate()
    process.wait(10)


def named(labels: dict[str, str]) -> str:
    return " ".join(filter(None, (labels["alertname"], labels.get("store"), labels.get("lane"), labels.get("job"))))


def firing(name: str, **labels: str) -> dict[str, str]:
    return {"alertname": name, **labels}


@pytest.mark.engines
def test_a_broken_store_is_told_as_one_page_and_one_cause(told: Callable[..., set[str]]):
    assert told(
        firing("UsersLate", store="cassandra"),
        firing("CanaryMissing", store="cassandra"),
        firing("FreshnessBurn14x"),
        firing("StoreDown", store="cassandra", part="cassandra"),
        firing("StoreErrors", store="cassandra", part="cassandra"),
        firing("TargetDown", job="cassandra", part="cassandra"),
        firing("LaneStopped", lane="stats"),
        firing("LaneStalled", lane="stats"),
        firing("LagGrowing", lane="stats"),
        firing("LagGrowing", lane="raw"),
        firing("AuditorSilent"),
        firing("Watchdog"),
    ) == {"UsersLate cassandra", "StoreDown cassandra", "LagGrowing raw", "Watchdog"}


@pytest.mark.engines
def test_brokers_that_are_gone_are_told_as_one_page_and_one_cause(told: Callable[..., set[str]]):
    assert told(
        firing("UsersLate", store="cassandra"),
        firing("UsersLate", store="mongodb"),
        firing("BrokerDown"),
        firing("PartitionsWithoutLeader", topic="users.raw"),
        firing("UnderMinIsr", topic="users.raw"),
        firing("UnderReplicated", topic="users.raw"),
        firing("AbnormalController"),
        firing("OutboxGrowing"),
        firing("LagGrowing", lane="raw"),
        firing("ExporterSilent"),
        firing("HopSilent", part="kafka"),
        firing("AuditorSilent"),
        firing("TargetDown", job="kafka", broker="1", part="kafka"),
        firing("TargetDown", job="dashboard", part="watchers"),
    ) == {"UsersLate cassandra", "UsersLate mongodb", "BrokerDown", "TargetDown dashboard"}


@pytest.mark.engines
def test_one_broker_that_is_gone_explains_no_watcher_that_is_silent(told: Callable[..., set[str]]):
    watchers = firing("ExporterSilent"), firing("AuditorSilent")
    assert told(firing("BrokerDown"), firing("UnderReplicated", topic="users.raw"), *watchers) == {
        "BrokerDown",
        "ExporterSilent",
        "AuditorSilent",
    }


@pytest.mark.engines
def test_a_source_that_is_gone_is_told_once(told: Callable[..., set[str]]):
    assert told(
        firing("TargetDown", job="simulator", part="source"),
        firing("SourceDown"),
        firing("BreakerOpen"),
        firing("SourceQuiet"),
        firing("DeadLetters"),
    ) == {"TargetDown simulator", "DeadLetters"}


@pytest.mark.engines
def test_a_lane_that_has_stopped_is_told_once_and_the_other_lane_beside_it(told: Callable[..., set[str]]):
    assert told(
        firing("LaneStopped", lane="raw"),
        firing("LaneRestarting", lane="raw"),
        firing("LagGrowing", lane="raw"),
        firing("LaneRestarting", lane="stats"),
    ) == {"LaneStopped raw", "LaneRestarting stats"}
