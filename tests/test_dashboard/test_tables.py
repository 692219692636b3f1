"""The operations page's tables, of values as Prometheus gives them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dashboard import tables
from dashboard.board import Board
from dashboard.prometheus import Alert, Point, Sample, Target
from dashboard.stores import Down
from dashboard.views import UNKNOWN, Badge
from observability import names

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NOTHING = Board({}, (), ())
LOST = Alert(
    {
        "alertname": "Lost",
        "severity": "page",
        "part": "pipeline",
        "job": "auditor",
        "instance": "a:1",
        "check": "stored",
    },
    {"summary": "3 users\nlack at [stored]", "runbook": "docs/runbooks/completeness.md#userslost"},
    "firing",
    NOW - timedelta(minutes=5),
)


def of(name: str, *found: tuple[dict[str, str], float | None]) -> Board:
    return Board({name: tuple(Sample(labels, value) for labels, value in found)}, (), ())


def test_an_alert_is_one_row_with_its_state_age_words_and_runbook():
    shown = tables.alerts(replace(NOTHING, alerts=(LOST,)), (), NOW, UTC).to_pylist()
    assert shown == [
        {
            "Alert": "**Lost**",
            "State": ":red-badge[page, firing]",
            "Since": "11:55:00, 5 min 0 s ago",
            "What": "3 users lack at \\[stored\\]",
            "Where": "pipeline, check stored",
            "Runbook": "[completeness](/runbook?name=completeness#userslost)",
        }
    ]


def test_an_alert_that_is_silenced_says_so():
    assert tables.state(LOST, [dict(LOST.labels)]) == ":red-badge[page, firing, silenced]"


@pytest.mark.parametrize("named", ["", "javascript:alert(1)", "../../etc/pass wd", "/"])
def test_a_runbook_that_is_no_files_name_is_no_link(named):
    assert tables.runbook(replace(LOST, annotations={"runbook": named})) == UNKNOWN


def test_of_many_alerts_a_dozen_is_shown_and_the_rest_counted():
    many = replace(NOTHING, alerts=(LOST,) * 14)
    assert tables.alerts(many, (), NOW, UTC).num_rows == 12
    assert tables.more_alerts(many) == "and 2 more alerts"
    assert tables.more_alerts(NOTHING) is None


def test_there_is_a_hop_for_each_check_of_the_auditor():
    assert sorted(tables.HOPS) == sorted(names.AUDIT_CHECKS.split(", "))


def test_a_hop_shows_what_passes_flies_and_lacks_and_a_dash_for_what_is_not_known():
    board = of("gap", ({"check": "stored"}, 3.0), ({"check": "summed"}, -1.0), ({"check": "topic"}, 0.0))
    rows = {row["Hop"]: row for row in tables.hops(board).to_pylist()}
    assert rows["In MongoDB"]["Lost"] == ":red[**3**]"
    assert rows["In Cassandra's sums"]["Lost"] == ":red[**1 too many**]"
    assert rows["On users.raw"]["Lost"] == ":green[0]"
    assert (
        rows["Fetched, as ingestion counts"]["Lost"],
        rows["Fetched, as ingestion counts"]["Users/s"],
        rows["Fetched, as ingestion counts"]["In flight"],
    ) == (UNKNOWN,) * 3


def test_a_lane_of_which_nothing_is_known_has_dashes_and_one_that_stands_says_so():
    raw, stats = tables.lanes(of("lane_up", ({"lane": "stats"}, 0.0))).to_pylist()
    assert set(raw.values()) == {"raw → MongoDB", UNKNOWN}
    assert stats["Runs"] == ":red[**no**]"


def test_a_share_is_never_rounded_up_to_a_kept_promise():
    assert [tables.kept(late) for late in (0.0, 0.00004, 0.01, 0.010049, 1.0, None)] == [
        "100.00 %",
        "99.99 %",
        "99.00 %",
        ":red[**98.99 %**]",
        ":red[**0.00 %**]",
        UNKNOWN,
    ]


def test_the_hour_tells_how_much_of_it_was_watched():
    board = of("late_1h", ({}, 0.0))
    assert tables.promises(board).to_pylist()[0]["Over 1 hour"] == "100.00 %"
    board = replace(board, values={**board.values, "watched_1h": (Sample({}, 0.2),)})
    assert tables.promises(board).to_pylist()[0]["Over 1 hour"] == "100.00 % (12 min watched)"


def test_a_budget_that_is_used_up_is_red():
    assert [tables.budget(left) for left in (1.0, 0.2, -0.5, None)] == [
        ":green[100.0 %]",
        ":orange[20.0 %]",
        ":red[**-50.0 %**]",
        UNKNOWN,
    ]


def test_reasons_for_quiet_are_told_and_none_where_there_is_none():
    assert tables.notes(NOTHING) is None
    paused = {"paused": (Sample({"reason": "outbox_full"}, 1.0),), "outbox": (Sample({"topic": "users.raw"}, 1200.0),)}
    assert tables.notes(Board(paused, (), ())) == ("Fetching waits: outbox full; 1,200 messages wait in the outbox.")


def test_a_job_is_shown_by_its_worst_target_the_broken_ones_first():
    up = Target("kafka", "a:1", "up", "", NOW)
    down = replace(up, health="down", error='Get "http://a:1/metrics": dial tcp: connection refused')
    shown = tables.processes((replace(up, job="ingest"), up, down, replace(up, job="spark", health="unknown")))
    assert [(badge.text, badge.colour) for badge in shown] == [
        ("kafka 1 of 2: dial tcp\\: connection refused", "red"),
        ("spark: not asked yet", "gray"),
        ("ingest", "green"),
    ]


def test_points_become_rows():
    point = Point({"lane": "raw", "quantile": "p50"}, NOW, 1.5)
    assert tables.delays([point]).to_pylist() == [{"at": NOW, "seconds": 1.5, "lane": "raw", "quantile": "p50"}]


def test_the_age_of_the_numbers_is_told_in_every_state():
    fresh = Target("ingest", "a:1", "up", "", NOW - timedelta(seconds=3))
    old = replace(fresh, asked_at=NOW - timedelta(minutes=3))
    down = Down("Prometheus", "a:1", "it cannot be reached", NOW)

    def badge(board: Board | Down) -> tuple[str, str]:
        found: Badge = tables.as_of(board, NOW, UTC)
        return found.text, found.colour

    assert badge(replace(NOTHING, targets=(fresh, old))) == ("As of 11:59:57, 3.0 s ago", "green")
    assert badge(replace(NOTHING, targets=(old,))) == ("Nothing newer than 11:57:00, 3 min 0 s ago", "orange")
    assert badge(NOTHING) == ("No numbers yet", "gray")
    assert badge(down) == ("Prometheus unavailable since 12:00:00", "red")
