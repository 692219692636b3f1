"""The pipeline's picture: each hop's health, by what Prometheus knows, and by what it does not."""

from datetime import UTC, datetime

import pytest

from dashboard import picture
from dashboard.board import RATES, Board
from dashboard.picture import BROKEN, DARK, OK, WATCH
from dashboard.prometheus import Sample, Target

NAMES = ("Source", "Ingestion", "Kafka", "Raw lane", "MongoDB", "Stats lane", "Cassandra")


def board(targets: dict[str, str] | None = None, **values: list[tuple[dict, float]]) -> Board:
    """A board that is well, but for these values."""
    well: dict[str, list[tuple[dict, float]]] = {
        "rate": [({"check": check}, 0 if check == "dead_letters" else 25) for check in RATES],
        "gap": [({"check": check}, 0) for check in RATES],
        "outbox": [({"topic": "users.raw"}, 0)],
        "lane_up": [({"lane": lane}, 1) for lane in ("raw", "stats")],
        "behind": [({"lane": lane}, 0.4) for lane in ("raw", "stats")],
        "newest_user": [({"store": store}, 1.5) for store in ("mongodb", "cassandra")],
    }
    health = {"ingest": "up", "kafka": "up"} | (targets or {})
    return Board(
        {name: tuple(Sample(labels, value) for labels, value in found) for name, found in (well | values).items()},
        tuple(Target(job, "a:1", state, "", datetime.now(UTC)) for job, state in health.items()),
        (),
    )


def healths(one: Board) -> dict[str, str]:
    first, lanes = picture.hops(one)
    return {hop.name: hop.health for hop in (*first, *(hop for lane in lanes for hop in lane))}


def test_a_system_that_is_well_has_every_hop_well():
    assert healths(board()) == dict.fromkeys(NAMES, OK)


@pytest.mark.parametrize(
    ("made", "hop", "health"),
    [
        (board(targets={"ingest": "down"}), "Ingestion", BROKEN),
        (board(targets={"kafka": "down"}), "Kafka", BROKEN),
        (board(breaker=[({"state": "open"}, 1)]), "Source", BROKEN),
        (board(paused=[({"reason": "rate_limited"}, 1)]), "Source", WATCH),
        (board(outbox=[({"topic": "users.raw"}, 5000)]), "Ingestion", WATCH),
        (board(lane_up=[({"lane": "raw"}, 0), ({"lane": "stats"}, 1)]), "Raw lane", BROKEN),
        (board(behind=[({"lane": "raw"}, 0.1), ({"lane": "stats"}, 30)]), "Stats lane", WATCH),
        (board(newest_user=[({"store": "mongodb"}, 90), ({"store": "cassandra"}, 1)]), "MongoDB", BROKEN),
        (board(silent=[({"part": "mongodb"}, 1)]), "MongoDB", BROKEN),
        (board(gap=[({"check": "summed"}, 3)]), "Cassandra", BROKEN),
    ],
)
def test_what_is_wrong_is_seen_at_its_hop_alone(made, hop, health):
    assert healths(made) == dict.fromkeys(NAMES, OK) | {hop: health}


def test_a_store_is_well_while_canaries_arrive_though_the_source_is_quiet():
    quiet = board(newest_user=[({"store": "mongodb"}, 900)], canary_age=[({"store": "mongodb"}, 9)])
    assert healths(quiet)["MongoDB"] == OK


def test_what_is_not_known_is_not_said_to_be_well():
    assert set(healths(Board({}, (), ())).values()) == {DARK}


def test_the_picture_says_rates_health_and_lag_in_words():
    made = picture.html(board(outbox=[({"topic": "users.raw"}, 12)]))
    assert made.count("25.0 /s") == 7
    assert made.count("● well") == 7
    assert "12 wait in the outbox" in made
    assert "unread for 0.4 s" in made
    assert "<script" not in made


def test_a_reason_from_outside_is_text():
    made = picture.html(board(paused=[({"reason": "<b>x</b>"}, 1)]))
    assert "<b>" not in made
    assert "&lt;b&gt;" in made
