"""The four answers, for each state of what Prometheus knows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dashboard import answers
from dashboard.answers import UNKNOWN, four
from dashboard.board import RATES, Board
from dashboard.prometheus import Alert, Sample, Target
from dashboard.stores import Down

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
WATCHDOG = Alert({"alertname": "Watchdog", "severity": "none"}, {}, "firing", NOW - timedelta(days=1))
LATE = Alert({"alertname": "Late", "severity": "ticket"}, {}, "firing", NOW - timedelta(minutes=1))
LOST = Alert({"alertname": "Lost", "severity": "page"}, {}, "firing", NOW - timedelta(minutes=5))
SOON = Alert({"alertname": "Soon", "severity": "page"}, {}, "pending", NOW - timedelta(hours=1))
UP = Target("ingest", "a:1", "up", "", NOW - timedelta(seconds=2))
GONE = Target("spark", "a:2", "down", "connection refused", NOW)


def samples(label: str, **values: float | None) -> tuple[Sample, ...]:
    return tuple(Sample({label: name}, value) for name, value in values.items())


WELL = Board(
    {
        "lane_up": samples("lane", raw=1, stats=1),
        "p95": samples("lane", raw=1.5, stats=2.5),
        "behind": samples("lane", raw=0, stats=0.4),
        "audit_age": (Sample({}, 3.0),),
        "gap": samples("check", **dict.fromkeys(RATES, 0)),
    },
    (UP,),
    (WATCHDOG,),
)


def but(board: Board = WELL, **values: tuple[Sample, ...]) -> Board:
    return replace(board, values={**board.values, **values})


def texts(board: Board | Down) -> list[str]:
    return [answer.text for answer in four(board, NOW, UTC)]


def test_all_is_well():
    assert [(answer.text, answer.colour) for answer in four(WELL, NOW, UTC)] == [
        ("Yes", "green"),
        ("2.5 s", "green"),
        ("Nothing", "green"),
        ("Nothing", "green"),
    ]


@pytest.mark.parametrize(
    ("board", "why"),
    [
        (Down("Prometheus", "a:1", "it cannot be reached", NOW), "Prometheus is unavailable since 12:00:00."),
        (replace(WELL, targets=()), "Prometheus is there, but nobody has answered it yet."),
        (replace(WELL, targets=(GONE,)), "Prometheus is there, but nobody has answered it yet."),
        (
            replace(WELL, targets=(replace(UP, asked_at=NOW - timedelta(minutes=2)),)),
            "Prometheus has heard of nobody since 11:58:00, 2 min 0 s ago.",
        ),
    ],
)
def test_without_new_numbers_nothing_is_known_and_each_answer_says_why(board, why):
    assert [(answer.text, answer.colour, answer.more) for answer in four(board, NOW, UTC)] == [
        (UNKNOWN, "gray", why)
    ] * 4


def test_without_any_value_nothing_is_said_to_be_well():
    empty = Board({}, (UP,), ())
    assert texts(empty) == ["Not all of it", UNKNOWN, UNKNOWN, "Nothing"]
    assert [answer.colour for answer in four(empty, NOW, UTC)] == ["orange", "gray", "gray", "gray"]


@pytest.mark.parametrize(
    ("board", "text", "more"),
    [
        (replace(WELL, alerts=(WATCHDOG, LOST, LATE)), "No", "Alerts firing: 2, urgent: 1."),
        (replace(WELL, alerts=(WATCHDOG, LATE)), "Not all of it", "Alerts firing: 1, urgent: 0."),
        (replace(WELL, alerts=(WATCHDOG, SOON)), "Not all of it", "Soon is about to fire."),
        (replace(WELL, targets=(UP, GONE)), "Not all of it", "No answer from spark."),
        (but(lane_up=samples("lane", raw=0, stats=1)), "No", "Stopped: raw lane."),
        (replace(WELL, alerts=()), "Not all of it", "The watchdog alert does not fire: no rules are evaluated."),
    ],
)
def test_what_does_not_work_is_named(board, text, more):
    answer = answers.working(board)
    assert (answer.text, answer.more) == (text, more)


def test_a_lane_that_reads_nothing_is_as_late_as_its_oldest_unread_message():
    answer = answers.late(but(p95=samples("lane", raw=1.5, stats=None), behind=samples("lane", raw=0, stats=75)))
    assert (answer.text, answer.colour) == ("1 min 15 s", "red")
    assert answer.more == (
        "Raw lane: p95 1.5 s, all is read; stats lane: no users in the last minute, unread for 1 min 15 s."
    )


def test_a_quiet_source_is_not_late():
    quiet = but(p95=samples("lane", raw=None, stats=None), behind=samples("lane", raw=0, stats=0))
    assert answers.late(quiet).text == "0.0 s"


def test_with_one_lane_unknown_lateness_is_not_known():
    answer = answers.late(but(p95=samples("lane", raw=1.5), behind=samples("lane", raw=0)))
    assert answer.text == UNKNOWN
    assert "stats lane: no users in the last minute, what is unread is not known" in answer.more


@pytest.mark.parametrize(
    ("gaps", "text", "where"),
    [
        ({"stored": 3, "summed": 1}, "3 users", "At stored"),
        ({"read_raw": -2}, "2 too many", "At read raw"),
    ],
)
def test_what_is_lost_is_counted_where_it_is_lost_most(gaps, text, where):
    answer = answers.lost(but(gap=samples("check", **gaps)))
    assert (answer.text, answer.colour, answer.more) == (text, "red", f"{where}; compared 3.0 s ago.")


def test_who_waits_in_the_outbox_is_late_whatever_the_lanes_say():
    answer = answers.late(but(outbox_age=(Sample({}, 90.0),), p95=samples("lane", raw=None, stats=None)))
    assert (answer.text, answer.colour) == ("1 min 30 s", "red")
    assert answer.more.startswith("Waiting in the outbox for 1 min 30 s; raw lane: no users in the last minute")


@pytest.mark.parametrize(
    ("compared", "text"), [({}, UNKNOWN), (dict.fromkeys(set(RATES) - {"stored"}, 0), "Nothing found")]
)
def test_what_is_not_compared_is_not_said_to_be_well(compared, text):
    answer = answers.lost(but(gap=samples("check", **compared)))
    assert (answer.text, answer.colour) == (text, "gray")
    assert "stored" in answer.more


def test_an_old_comparison_says_nothing_is_known_and_who_does_not_answer():
    old = but(audit_age=(Sample({}, 90.0),), silent=samples("part", cassandra=1))
    answer = answers.lost(old)
    assert (answer.text, answer.more) == (UNKNOWN, "Compared 1 min 30 s ago; no answer from cassandra.")


def test_what_broke_first_is_the_oldest_that_fires_not_the_one_about_to():
    board = replace(WELL, alerts=(WATCHDOG, LATE, SOON, LOST))
    answer = answers.first(board, NOW, UTC)
    assert (answer.text, answer.colour) == ("Lost", "red")
    assert answer.more == "Since 11:55:00, 5 min 0 s; 2 more after it."
    assert [alert.name for alert in board.broken] == ["Lost", "Late", "Soon"]
