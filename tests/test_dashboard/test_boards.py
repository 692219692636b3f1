"""The dashboards page, drawn from Grafana's JSON over a server that answers like Prometheus, or not."""

import json
import time
from datetime import UTC, datetime

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import app, asking, boards, definitions, panels
from dashboard.asking import Asker, Question, Shown, Unanswered
from dashboard.definitions import HEATMAP, LINES, STAT, TABLE, TIMELINE, Limit, Panel, Query, Variable
from dashboard.prometheus import Sample, Series
from engines import scrape

UIDS = sorted(definitions.read(boards.FOLDER))
QUERY, RANGE, ALERTS = "/api/v1/query", "/api/v1/query_range", "/api/v1/alerts"
NAMES = (
    "lane",
    "topic",
    "broker",
    "job",
    "store",
    "partition",
    "group",
    "alertname",
    "reason",
    "health",
    "hop",
    "service",
)
NOW = 1_764_000_000.0


@pytest.fixture
def page(answering, monkeypatch):
    """The page over `answering`, opened by its address."""
    monkeypatch.setenv("VIGIE_PROMETHEUS_PORT", str(answering.port))

    def shown(**query: str) -> AppTest:
        way_in = AppTest.from_file(app.__file__, default_timeout=60)
        way_in.query_params.update(query)
        way_in.run().query_params.update(query)
        found = way_in.switch_page(boards.__file__).run()
        assert not found.exception
        return found

    return shown


def works(answering) -> None:
    """Two series to every question, with the labels that legends name, over the last ten minutes."""
    now = datetime.now(UTC).timestamp() // 5 * 5
    series = []
    for n, (lane, le) in enumerate((("raw", "0.5"), ("stats", "+Inf"))):
        labels = dict.fromkeys(NAMES, lane) | {"le": le}
        series.append({"metric": labels, "values": [[now - 5 * back, str(1 + n)] for back in range(120, -1, -1)]})
    answering.says(RANGE, {"resultType": "matrix", "result": series})
    instant = [{"metric": one["metric"], "value": one["values"][-1]} for one in series]
    answering.says(QUERY, {"resultType": "vector", "result": instant})
    labels = {"alertname": "BrokerDown", "severity": "page"}
    alert = {"labels": labels, "annotations": {"summary": "One is gone", "runbook": "docs/runbooks/kafka.md"}}
    answering.says(ALERTS, {"alerts": [alert | {"state": "firing", "activeAt": "2026-11-24T12:00:00Z"}]})
    for label in NAMES:
        answering.says(f"/api/v1/label/{label}/values", [f"{label}.1", f"{label}.2"])


def titles(shown: AppTest) -> list[str]:
    return [metric.label for metric in shown.metric] + [text.value.replace("\\", "") for text in shown.markdown]


@pytest.mark.parametrize("uid", UIDS)
def test_every_panel_of_every_dashboard_is_drawn(answering, page, uid):
    works(answering)
    shown = page(board=uid)
    shown = shown.button(key="boards-all").click().run()
    assert not shown.exception
    assert not shown.error
    every = [panel for row in boards.boards()[uid].rows for panel in row.panels]
    kinds = [panel.kind for panel in every]
    charts = sum(kinds.count(kind) for kind in (LINES, HEATMAP, TIMELINE))
    assert len(shown.get("vega_lite_chart")) == charts
    assert len(shown.metric) == 2 * kinds.count(STAT)
    assert all(metric.value != "—" for metric in shown.metric)
    assert len(shown.dataframe) == kinds.count(TABLE)
    said = "\n".join(titles(shown))
    assert [panel.title for panel in every if panel.title not in said] == []


def test_only_the_open_row_asks(answering, page):
    works(answering)
    shown = page(board="vigie-kafka")
    first = boards.boards()["vigie-kafka"].rows[0]
    asked = [words["query"] for path, words in answering.asked if path == RANGE]
    assert len(asked) == sum(len(panel.queries) for panel in first.panels)
    shown.session_state["row-vigie-kafka-1"] = True
    shown.run()
    assert len([path for path, _ in answering.asked if path == RANGE]) > len(asked)


def test_two_viewers_are_one_question(answering, page, monkeypatch):
    monkeypatch.setattr(asking, "now", lambda: NOW)
    works(answering)
    page(board="vigie-overview")
    asked = len(answering.asked)
    page(board="vigie-overview")
    assert len(answering.asked) == asked


def test_a_link_opens_the_same_view(answering, page):
    works(answering)
    shown = page(board="vigie-kafka", range="1h", topic="topic.1")
    assert shown.selectbox(key="boards-board").value == "vigie-kafka"
    assert shown.segmented_control(key="boards-range").value == "1h"
    assert shown.multiselect(key="boards-vigie-kafka-topic").value == ["topic.1"]
    shown.session_state["row-vigie-kafka-1"] = True
    shown.run()
    asked = [words for path, words in answering.asked if path == RANGE]
    assert any(r'topic=~"topic\\.1"' in words["query"] for words in asked)
    assert not [words for words in asked if "$" in words["query"]]
    spans = {float(words["end"]) - float(words["start"]) for words in asked}
    assert spans == {3600.0}


def test_a_choice_goes_into_the_address(answering, page):
    works(answering)
    shown = page(board="vigie-kafka")
    shown.multiselect(key="boards-vigie-kafka-topic").set_value(["topic.2"]).run()
    assert shown.query_params["topic"] == "topic.2"
    shown.selectbox(key="boards-board").set_value("vigie-spark").run()
    assert shown.query_params["board"] == "vigie-spark"
    assert "topic" not in shown.query_params


def test_the_page_speaks_french_and_writes_numbers_as_french_does(answering, page):
    works(answering)
    shown = page(board="vigie-drills", lang="fr")
    assert shown.title[0].value == "Tableaux de bord"
    specs = [json.loads(chart.proto.spec) for chart in shown.get("vega_lite_chart")]
    assert {spec["config"]["locale"]["number"]["decimal"] for spec in specs} == {","}


def test_an_address_that_names_no_dashboard_shows_the_first(answering, page):
    works(answering)
    assert page(board="none", range="9y").selectbox(key="boards-board").value == "vigie-overview"


def test_with_prometheus_gone_every_panel_says_so(nobody, page, monkeypatch):
    monkeypatch.setenv("VIGIE_PROMETHEUS_PORT", str(nobody))
    shown = page(board="vigie-overview")
    first = boards.boards()["vigie-overview"].rows[0]
    numbers = [panel for panel in first.panels if panel.kind == STAT]
    assert [metric.value for metric in shown.metric] == ["—"] * len(numbers)
    assert all("it cannot be reached" in metric.help for metric in shown.metric)
    told = [caption for caption in shown.caption if "it cannot be reached" in caption.value]
    assert len(told) == len(first.panels) - len(numbers)


def test_a_prometheus_that_hangs_is_told_within_three_seconds_and_comes_back(answering, page, monkeypatch):
    works(answering)
    shown = page(board="vigie-drills")
    monkeypatch.setattr(asking, "now", lambda: NOW)
    answering.release.clear()
    began = time.monotonic()
    shown.run()
    assert time.monotonic() - began < 3
    first = boards.boards()["vigie-drills"].rows[0]
    assert len([one for one in shown.caption if "it does not answer" in one.value]) == len(first.panels)
    answering.release.set()
    monkeypatch.setattr(asking, "now", lambda: NOW + 5)
    ends = time.monotonic() + 10
    while not shown.run().get("vega_lite_chart") and time.monotonic() < ends:
        pass
    assert len(shown.get("vega_lite_chart")) == len(first.panels)


def test_one_question_that_is_refused_leaves_the_other_panels(answering):
    asker = Asker(f"http://{answering.address}")
    answering.says(QUERY, {"resultType": "vector", "result": []})
    answering.answers[RANGE] = (422, b"bad expression")
    good, bad = Question("up", 0, NOW), Question("up(", NOW - 900, NOW, 5)
    found = asker.ask([good, bad])
    assert found[good] == ()
    assert found[bad] == Unanswered("it answers 422 to /api/v1/query_range: bad expression")


def test_no_dashboards_are_told_in_words(monkeypatch, tmp_path):
    monkeypatch.setattr(boards, "FOLDER", tmp_path)
    shown = AppTest.from_string("from dashboard import boards\nboards.main()", default_timeout=20).run()
    assert "There are no dashboards in" in shown.info[0].value


def panel(kind: str, unit: str = "none", **more) -> Panel:
    return Panel(1, kind, "A", "says", unit, (Query("up", "{{lane}}", "A"),), 0, 8, 7, **more)


def series(labels: dict, *values: float | None, first: float = NOW, step: float = 5) -> Series:
    return Series(labels, tuple((first + n * step, value) for n, value in enumerate(values)))


def found(one: Panel, *of: Series) -> list:
    return [(one.queries[0], of)]


def test_a_number_is_the_last_that_is_one_in_the_colour_of_its_limit():
    one = panel(STAT, "s", limits=(Limit(None, "green"), Limit(10, "red")))
    (shown,) = panels.numbers(one, found(one, series({"lane": "raw"}, 1, 12, None)))
    assert (shown.name, shown.text, shown.colour, shown.past) == ("raw", "12 s", "red", (1, 12))
    words = panel(STAT, words={"1": ("firing", "red")})
    assert panels.numbers(words, found(words, series({}, 1)))[0].text == "firing"
    assert panels.numbers(one, found(one, series({}, None))) == ()


def test_a_line_is_broken_where_points_are_missing():
    one = panel(LINES, "s")
    points = ((NOW, 0.01), (NOW + 5, 0.02), (NOW + 60, 0.03))
    chart = panels.lines(one, [(one.queries[0], [Series({"lane": "raw"}, points)])], 5)
    assert chart.table["value"].to_pylist() == [10, 20, None, 30]
    assert chart.table["text"].to_pylist() == ["10 ms", "20 ms", "—", "30 ms"]
    assert panels.lines(one, found(one, series({}, None)), 5) is None


def test_two_series_of_one_name_are_two_lines():
    one = panel(LINES)
    chart = panels.lines(one, found(one, series({"lane": "raw"}, 1), series({"lane": "raw", "le": "2"}, 2)), 5)
    assert sorted(chart.table["series"].to_pylist()) == ["raw", "raw #2"]


def test_of_many_series_the_largest_are_drawn_and_the_rest_is_counted():
    one = panel(LINES)
    chart = panels.lines(one, found(one, *(series({"lane": f"{n:02}"}, n) for n in range(30))), 5)
    assert chart.more == 6
    assert sorted(set(chart.table["series"].to_pylist()))[0] == "06"


def test_a_heatmap_has_what_fell_between_two_bounds():
    one = panel(HEATMAP, "s")
    buckets = [series({"le": le}, value) for le, value in (("+Inf", 10), ("0.1", 4), ("1", 9))]
    chart = panels.heatmap(one, found(one, *buckets), 15)
    rows = list(zip(chart.table["bound"].to_pylist(), chart.table["rate"].to_pylist(), strict=True))
    assert rows == [("100 ms", 4), ("1 s", 5), ("more", 1)]
    assert panels.heatmap(one, found(one, series({"le": "1"}, 0)), 15) is None


def test_a_timeline_joins_equal_neighbours_and_leaves_gaps():
    one = panel(TIMELINE, words={"0": ("down", "red"), "1": ("up", "green")})
    points = ((NOW, 1), (NOW + 5, 1), (NOW + 10, 0), (NOW + 60, 0))
    table = panels.timeline(one, [(one.queries[0], [Series({"lane": "raw"}, points)])], 5).table
    bars = zip(table["state"].to_pylist(), table["at"].to_pylist(), table["until"].to_pylist(), strict=True)
    assert [(state, (until - at).total_seconds()) for state, at, until in bars] == [
        ("up", 10),
        ("down", 5),
        ("down", 5),
    ]


def test_a_table_joins_its_questions_by_label_and_sorts_numbers_as_numbers():
    columns = tuple(definitions.Column(name, name, "none") for name in ("partition", "Value #A", "Value #B"))
    queries = (Query("a", "", "A"), Query("b", "", "B"))
    one = Panel(1, TABLE, "A", "", "none", queries, 0, 8, 7, columns=columns)
    answers = [[Sample({"partition": n}, value) for n in ("10", "2")] for value in (1.0, 2.0)]
    table = panels.rows(one, list(zip(queries, answers, strict=True)))
    assert table.to_pylist() == [{"partition": n, "Value #A": 1.0, "Value #B": 2.0} for n in ("2", "10")]


def test_variables_are_filled_in_as_grafana_does():
    shown = Shown(NOW, 3600, (("topic", "a"),))
    expr = 'rate(x{topic=~"$topic"}[$__rate_interval]) + increase(y[$__range]) + ${__interval}'
    assert asking.filled(expr, shown, 20) == 'rate(x{topic=~"a"}[60s]) + increase(y[3600s]) + 20s'
    assert asking.filled("[$__rate_interval]", shown, 480) == "[495s]"
    assert int(scrape.SLOW.removesuffix("s")) == asking.SLOWEST_S  # four of them, so that each rate has two answers
    variable = Variable("topic", "", ".+")
    chosen = [asking.chosen(variable, values) for values in ([], ["users.raw"], ["a", "b+"])]
    assert chosen == [".+", r"users\\.raw", r"(a|b\\+)"]


@pytest.mark.parametrize(("length", "step"), [(900, 5), (3600, 20), (21600, 120), (86400, 480)])
def test_a_range_has_at_most_180_points_at_whole_scrapes(length, step):
    assert Shown(NOW, length).step_s == step
