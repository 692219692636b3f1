"""The dashboards are current, readable by Grafana's own types, explained, laid out, linked, and ask for what exists."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.catalogue import BOARDS, FOLDER, expressions
from grafana.draw import COLUMNS, PROMETHEUS, RUNBOOKS, number, text
from grafana.panels import ALERTS, STAT, Board
from grafana.promql import concrete
from observability.names import HISTOGRAM, METRICS

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "observability" / "prometheus" / "rules").glob("*.yml"))
AGENTS = sorted((ROOT / "engines").glob("*/jmx.yaml"))

# Of others, as they name them: seen on the running Prometheus, Alertmanager and Jaeger and on the recorded JMX agents.
OTHERS = {
    "ALERTS",
    "alertmanager_alerts",
    "alertmanager_notifications_failed_total",
    "alertmanager_notifications_total",
    "jaeger_storage_badger_size_bytes_lsm",
    "jaeger_storage_badger_size_bytes_vlog",
    "jvm_gc_collection_seconds_count",
    "jvm_gc_collection_seconds_sum",
    "jvm_memory_max_bytes",
    "jvm_memory_used_bytes",
    "jvm_threads_current",
    "otelcol_exporter_send_failed_spans_total",
    "otelcol_exporter_sent_spans_total",
    "otelcol_process_cpu_seconds_total",
    "otelcol_process_memory_rss_bytes",
    "otelcol_processor_tail_sampling_global_count_traces_sampled_total",
    "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early_total",
    "otelcol_processor_tail_sampling_sampling_traces_on_memory",
    "otelcol_receiver_accepted_spans_total",
    "otelcol_receiver_failed_spans_total",
    "otelcol_receiver_refused_spans_total",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "prometheus_notifications_dropped_total",
    "prometheus_notifications_errors_total",
    "prometheus_notifications_sent_total",
    "prometheus_rule_evaluation_failures_total",
    "prometheus_rule_group_iterations_missed_total",
    "prometheus_rule_group_last_duration_seconds",
    "prometheus_tsdb_exemplar_exemplars_in_storage",
    "prometheus_tsdb_head_samples_appended_total",
    "prometheus_tsdb_head_series",
    "prometheus_tsdb_storage_blocks_bytes",
    "prometheus_tsdb_wal_storage_size_bytes",
    "scrape_duration_seconds",
    "scrape_samples_post_metric_relabeling",
    "spark_driver_ExecutorMetrics_JVMHeapMemory_Number",
    "spark_driver_ExecutorMetrics_JVMOffHeapMemory_Number",
    "spark_driver_JVMCPU_jvmCpuTime_Number",
    "spark_driver_jvm_pools_CodeCache_max_Number",
    "spark_driver_jvm_pools_CodeCache_used_Number",
    "spark_executor_completedTasks_total",
    "spark_executor_failedTasks_total",
    "spark_executor_memoryUsed_bytes",
    "spark_executor_totalGCTime_seconds_total",
    "traces_span_metrics_calls_total",
    "traces_span_metrics_duration_seconds_bucket",
    "up",
}
WORDS = {"and", "or", "unless", "bool", "offset", "on", "by", "inf", "nan"}

each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)


def written(board: Board) -> Any:
    return json.loads((FOLDER / f"{board.uid}.json").read_text())


def panels(board: Board) -> list[Any]:
    return [panel for panel in written(board)["panels"] if panel["type"] != "row"]


def metrics(expr: str) -> set[str]:
    """The names of the metrics that an expression asks for."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', "", expr)
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    found = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)\b(?!\s*\()", bare)
    return {name for name in found if name.lower() not in WORDS}


def ours(metric: str) -> str:
    """Our name for it: a histogram's without _bucket, _sum or _count."""
    plain = re.sub(r"_(bucket|sum|count)$", "", metric)
    return plain if plain in {one.name for one in METRICS if one.kind == HISTOGRAM} else metric


def agents_names() -> list[re.Pattern[str]]:
    """What the JMX agents' rules can name, each rule's groups put into its name."""
    patterns = []
    for rule in (rule for file in AGENTS for rule in yaml.safe_load(file.read_text())["rules"]):
        groups = re.findall(r"(?<!\\)\((?!\?)([^()]*)\)", rule["pattern"])
        words = [group.lower().replace("-", "_") if re.fullmatch(r"[\w|-]+", group) else r"\w+" for group in groups]
        name = re.sub(r"\$(\d)", lambda found, words=words: f"({words[int(found[1]) - 1]})", rule["name"])
        patterns.append(re.compile(name))
    return patterns


def rules() -> list[dict[str, Any]]:
    return [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def test_the_folder_has_the_dashboards_of_today_and_no_other():
    assert {file.name: file.read_text() for file in FOLDER.iterdir()} == {f"{b.uid}.json": text(b) for b in BOARDS}


@each_board
def test_a_dashboard_read_back_with_grafanas_types_is_the_same(board):
    register_default_plugins()
    ours = written(board)
    again = json.loads(json.dumps(Dashboard.from_json(ours), cls=JSONEncoder))
    for panel, mine in zip(again["panels"], ours["panels"], strict=True):
        if "custom" not in mine.get("fieldConfig", {"defaults": {"custom": {}}})["defaults"]:
            panel["fieldConfig"]["defaults"].pop(
                "custom", None
            )  # of some kinds of panel: reading fills in the defaults
    assert again == ours


@each_board
def test_every_panel_has_a_title_of_its_own_a_unit_and_says_what_good_looks_like(board):
    titles = [panel.title for row in board.rows for panel in row.panels]
    assert sorted(set(titles)) == sorted(titles)
    for panel in panels(board):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["type"] == "alertlist" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@each_board
def test_every_large_number_is_judged_or_plainly_neutral(board):
    stats = [panel for row in board.rows for panel in row.panels if panel.kind == STAT]
    assert [panel.title for panel in stats if not panel.limits] == []


@each_board
def test_no_two_parts_of_a_dashboard_share_a_number(board):
    numbers = [part["id"] for part in written(board)["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_a_link_to_a_panel_outlives_changes_of_other_panels():
    assert number("Lag, by lane") == 161_630


@each_board
def test_panels_lie_side_by_side_within_the_grid(board):
    places = [part["gridPos"] for part in written(board)["panels"]]
    assert all(p["x"] >= 0 and p["w"] > 0 and p["h"] > 0 and p["x"] + p["w"] <= COLUMNS for p in places)
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


@each_board
def test_every_question_goes_to_prometheus_and_has_a_letter_of_its_own(board):
    for panel in panels(board):
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)
        assert letters or panel["type"] == "alertlist", panel["title"]
        for target in panel["targets"]:
            assert target["expr"]
            assert target["datasource"] == {"type": "prometheus", "uid": PROMETHEUS.uid}


@each_board
def test_every_link_leads_somewhere(board):
    uids = {other.uid for other in BOARDS}
    assert {tuple(link["tags"]) for link in written(board)["links"]} == {tuple(written(board)["tags"])}
    for panel in panels(board):
        for link in panel["links"]:
            path = link["url"].split("?")[0]
            if path.startswith(RUNBOOKS):
                assert (ROOT / "docs" / "runbooks" / path.removeprefix(f"{RUNBOOKS}/")).is_file(), link
            elif path.startswith("/d/"):
                assert path.removeprefix("/d/") in uids - {board.uid}, link
            else:
                assert path == "/explore", link


@each_board
def test_drills_are_marked(board):
    marks = written(board)["annotations"]["list"]
    assert [mark["target"]["tags"] for mark in marks] == [["drill"]]


@each_board
def test_a_choice_is_used_and_every_choice_that_is_used_is_there(board):
    asked = " ".join(query.expr for row in board.rows for panel in row.panels for query in panel.queries)
    used = {name for name in re.findall(r"\$(\w+)", asked) if not name.startswith("__")}
    assert used == {choice.name for choice in board.variables}


def test_examples_are_asked_of_histograms_only():
    asked = [query for board in BOARDS for row in board.rows for panel in row.panels for query in panel.queries]
    sampled = [query.expr for query in asked if query.exemplars]
    assert sampled
    assert [expr for expr in sampled if "_bucket" not in expr] == []


def test_every_metric_of_ours_is_seen_in_a_panel_or_watched_by_a_rule():
    seen = {ours(name) for _, _, expr in expressions() for name in metrics(expr)}
    watched = {ours(name) for rule in rules() for name in metrics(rule["expr"])}
    assert {metric.name for metric in METRICS} - seen - watched == set()


def test_panels_ask_for_nothing_that_nobody_tells():
    known = {metric.name for metric in METRICS} | OTHERS | {rule["record"] for rule in rules() if "record" in rule}
    agents = agents_names()
    asked = {ours(name) for _, _, expr in expressions() for name in metrics(expr)} - known
    assert {name for name in asked if not any(agent.fullmatch(name) for agent in agents)} == set()
    assert {name for name in OTHERS if not any(name in metrics(expr) for _, _, expr in expressions())} == set()


def test_rules_name_dashboards_that_exist():
    named = {rule["annotations"]["dashboard"].rsplit("/", 1)[1] for rule in rules() if "alert" in rule}
    assert named <= {board.uid for board in BOARDS}


def test_expressions_are_what_can_be_asked_of_prometheus_itself():
    asked = expressions()
    titles = {(board.uid, panel.title) for board in BOARDS for row in board.rows for panel in row.panels}
    without = {(board.uid, p.title) for board in BOARDS for row in board.rows for p in row.panels if p.kind == ALERTS}
    assert {(uid, title) for uid, title, _ in asked} == titles - without
    assert [expr for _, _, expr in asked if "$" in expr] == []


def test_a_variable_without_a_value_for_tests_is_told():
    assert concrete('rate(up{lane=~"$lane"}[$__rate_interval])') == 'rate(up{lane=~".+"}[1m])'
    with pytest.raises(KeyError, match="region"):
        concrete('up{region="$region"}')
