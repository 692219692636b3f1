"""Grafana's JSON as we read it: every panel of every dashboard is one that our own page can draw."""

import json

import pytest

from dashboard import boards, definitions, units
from dashboard.definitions import ALERTS, Link, WrongDefinition, board, read
from grafana import catalogue


@pytest.fixture(scope="module")
def every() -> dict[str, definitions.Board]:
    return read(boards.FOLDER)


def test_every_dashboard_is_read_with_all_its_panels_the_overview_first(every):
    assert set(every) == {one.uid for one in catalogue.BOARDS}
    assert next(iter(every)) == "vigie-overview"
    for one in catalogue.BOARDS:
        there = [[panel.title for panel in row.panels] for row in every[one.uid].rows]
        assert there == [[panel.title for panel in row.panels] for row in one.rows]
        assert [variable.name for variable in every[one.uid].variables] == [v.name for v in one.variables]


def test_every_kind_and_unit_is_known(every):
    panels = [panel for one in every.values() for row in one.rows for panel in row.panels]
    assert len(panels) > 200
    assert {panel.kind for panel in panels} <= set(definitions.KINDS)
    used = {panel.unit for panel in panels} | {column.unit for panel in panels for column in panel.columns}
    assert [unit for unit in used if not units.known(unit)] == []


def test_every_panel_asks_and_leads_somewhere_that_is_here(every):
    runbooks = {file.stem for file in (boards.settings.ROOT / "docs" / "runbooks").glob("*.md")}
    for one in every.values():
        for panel in (panel for row in one.rows for panel in row.panels):
            assert panel.queries or panel.kind == ALERTS, panel.title
            for link in panel.links:
                known = {definitions.RUNBOOKS: runbooks, definitions.OTHER: every, definitions.TRACES: {link.to} - {""}}
                assert link.to in known[link.kind], (panel.title, link)


def test_a_panel_of_an_unknown_kind_is_named(tmp_path):
    made = json.loads(next(iter(boards.FOLDER.glob("*.json"))).read_text())
    made["panels"][1]["type"] = "piechart"
    (tmp_path / "one.json").write_text(json.dumps(made))
    with pytest.raises(WrongDefinition, match=r"one\.json is no dashboard: panel .* is a 'piechart'"):
        read(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"uid": "a", "title": "b", "time": {}, "panels": [{}]}'])
def test_a_file_that_is_no_dashboard_is_named(tmp_path, text):
    (tmp_path / "one.json").write_bytes(text)
    with pytest.raises(WrongDefinition, match=r"one\.json"):
        read(tmp_path)


def test_links_of_grafana_become_ours():
    panel = {"id": 1, "type": "stat", "title": "a", "gridPos": {"x": 0, "y": 1, "w": 3, "h": 4}}
    panes = "%7B%22t%22%3A%7B%22queries%22%3A%5B%7B%22service%22%3A%22ingest%22%7D%5D%7D%7D"
    urls = ["/public/vigie/runbooks/kafka.md", "/d/vigie-spark?${__url_time_range}", f"/explore?panes={panes}", ""]
    panel["links"] = [{"title": "l", "url": url} for url in urls]
    made = board(json.dumps({"uid": "a", "title": "b", "time": {}, "panels": [panel]}).encode())
    kinds = [(definitions.RUNBOOKS, "kafka"), (definitions.OTHER, "vigie-spark"), (definitions.TRACES, "ingest")]
    assert made.rows[0].panels[0].links == tuple(Link("l", kind, to) for kind, to in kinds)


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("s", 0.0123, "12.3 ms"),
        ("s", 75, "1.25 min"),
        ("s", 0, "0 s"),
        ("percentunit", 0.994, "99.4 %"),
        ("percentunit", 1, "100 %"),
        ("bytes", 1536, "1.5 KiB"),
        ("Bps", 512, "512 B/s"),
        ("short", 1234, "1,234"),
        ("short", 1234567, "1,235 k"),
        ("locale", 1234567, "1,234,567"),
        ("none", 3, "3"),
        ("suffix: users/s", 24.96, "25 users/s"),
        ("suffix:/s", 0.0521, "0.0521/s"),
        ("cps", 0.2, "0.2/s"),
        ("short", -5, "-5"),
        ("s", None, "—"),
        ("short", float("inf"), "∞"),
    ],
)
def test_a_value_is_said_in_its_unit(unit, value, text):
    assert units.text(unit, value) == text
