"""A game day is the same for the same seed, breaks nothing twice at once, and asks every fault for its own alert."""

from itertools import pairwise

import pytest

from chaos import catalogue, gameday
from chaos.drill import Outcome
from chaos.gameday import touched
from chaos.verdict import Alerts, Flow, Page, Users, Verdict, Window
from chaos.watch import ALERTS, Note

DRILLS = list(catalogue.everything())


def test_the_same_seed_makes_the_same_day_and_another_another():
    one, again, other = (gameday.drawn(DRILLS, 20, seed) for seed in (7, 7, 8))
    assert one == again
    assert one != other
    assert gameday.composed(one, 20, 7).experiment == gameday.composed(again, 20, 7).experiment


@pytest.mark.parametrize("seed", range(30))
def test_a_day_ends_in_its_time_and_no_two_faults_break_the_same_thing_at_once(seed: int):
    parts = gameday.drawn(DRILLS, 20, seed)
    assert parts
    assert all(part.ends <= 1200 for part in parts)
    assert not any(part.drill.bounds.alone for part in parts)
    for part in parts:
        for other in parts:
            if part.begins < other.begins < part.ends:
                assert not touched(part.drill) & touched(other.drill)


def test_orders_to_the_source_need_the_simulator_and_poison_needs_the_brokers():
    drills = {one.name: one for one in DRILLS}
    assert touched(drills["api-down"]) == touched(drills["api-slow"])
    assert touched(drills["poison"]) == touched(drills["brokers-all"])
    assert touched(drills["too-large"]) == touched(drills["poison"]) | touched(drills["api-slow"])


def test_days_have_faults_over_each_other_and_of_many_kinds():
    days = [gameday.drawn(DRILLS, 20, seed) for seed in range(30)]
    assert sum(one.ends > other.begins for day in days for one, other in pairwise(day)) > 50
    assert len({part.drill.name for day in days for part in day}) > 12


def test_a_day_keeps_the_times_of_its_parts_and_ends_every_fault():
    parts = gameday.drawn(DRILLS, 20, 7)
    day = gameday.composed(parts, 20, 7)
    held = sum(one["provider"]["arguments"]["seconds"] for one in day.method if one["provider"]["func"] == "hold")
    assert held == pytest.approx(max(part.ends for part in parts), abs=1)
    broken = {
        (one["name"].split(":")[0], program)
        for one in day.method
        if one["provider"]["func"] in ("kill", "freeze", "stop")
        for program in one["provider"]["arguments"]["programs"]
    }
    mended = {
        (one["name"].split(":")[0], program)
        for one in day.method
        if one["provider"]["func"] in ("start", "thaw")
        for program in one["provider"]["arguments"]["programs"]
    }
    assert broken == mended
    assert broken


def test_a_fault_of_the_day_that_no_alert_saw_fails_the_day_by_its_name():
    drills = {one.name: one for one in DRILLS}
    parts = [gameday.Part(1, drills["broker-kill"], 0.0), gameday.Part(2, drills["cassandra-frozen"], 10.0)]
    at = "2026-11-24T12:00:0{}+00:00"
    run = [{"activity": {"name": f"{n}: break"}, "start": at.format(n), "end": at.format(n)} for n in (1, 2)]
    begin = gameday.datetime.fromisoformat(at.format(0)).timestamp()
    passed = Verdict(Users(), Alerts(), Flow(3.0), Page(), ())
    firing = Note(begin + 30, ALERTS, {"firing": {"BrokerDown": "ticket"}, "pending": {}})
    outcome = Outcome(drills["broker-kill"], {"run": run}, Window(begin, begin + 60, begin + 90), passed, [firing])
    found = gameday.judged(outcome, parts).verdict
    assert found is not None
    assert found.failed == ("2: cassandra-frozen was seen by none of StoreDown",)
