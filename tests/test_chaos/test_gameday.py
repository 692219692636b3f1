"""A game day is the same for the same seed, breaks nothing twice at once, and asks every fault for its own alert."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from chaos import catalogue, gameday, soak
from chaos.alerts import Alerts
from chaos.bounds import Window
from chaos.drill import Outcome
from chaos.evidence import Evidence, Passage
from chaos.gameday import touched
from chaos.verdict import Flow, Page, Users, Verdict
from chaos.watch import ALERTS, CASSANDRA, Note

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


@pytest.mark.parametrize("seed", range(30))
def test_of_each_alert_it_can_be_told_whose_it_was(seed: int):
    for plan in (gameday.drawn(DRILLS, 20, seed), soak.plan(DRILLS, 1, 5, seed)):
        for one in plan:
            for later in plan:
                if one.begins < later.begins < one.ends + 30:
                    assert not set(one.drill.bounds.expect) & {*later.drill.bounds.expect, *later.drill.bounds.allow}
                    assert not set(later.drill.bounds.expect) & set(one.drill.bounds.allow)


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


BEGAN = datetime(2026, 11, 24, 12, tzinfo=UTC)
PASSED = Verdict(Users(), Alerts(), Flow(3.0), Page(), ())


def day(parts: list[gameday.Part], until: float, notes: list[Note], read: Evidence | None = None) -> tuple[str, ...]:
    """What such a day failed of; times are seconds from its begin."""
    run = [
        {
            "activity": {"name": f"{part.turn}: break"},
            "start": (BEGAN + timedelta(seconds=part.begins)).isoformat(),
            "end": (BEGAN + timedelta(seconds=part.ends)).isoformat(),
        }
        for part in parts
    ]
    begin = BEGAN.timestamp()
    at_last = [Note(begin + note.at, note.source, note.values) for note in notes]
    window = Window(begin, begin + max(part.ends for part in parts), begin + until)
    outcome = Outcome(parts[0].drill, {"run": run}, window, PASSED, at_last, read=read)
    found = gameday.judged(outcome, parts).verdict
    assert found is not None
    return found.failed


def firing(begin: int, end: int, *stores: str, **alerts: tuple[int, int]) -> list[Note]:
    """A note a second; each alert fires from its first second up to its second one, and names these stores, or both."""
    notes = []
    for at in range(begin, end):
        names = [name for name, (a, b) in alerts.items() if a <= at < b]
        of = {name: list(stores or ("cassandra", "mongodb")) for name in names}
        notes.append(Note(at, ALERTS, {"firing": dict.fromkeys(names, "ticket"), "firing of": of, "pending": {}}))
    return notes


def test_a_fault_of_the_day_that_no_alert_saw_fails_the_day_by_its_name():
    drills = {one.name: one for one in DRILLS}
    parts = [gameday.Part(1, drills["broker-kill"], 0.0), gameday.Part(2, drills["cassandra-frozen"], 10.0)]
    silent = ("2: cassandra-frozen: silent: none of StoreDown was seen",)
    assert day(parts, 90, firing(0, 90, BrokerDown=(30, 50))) == silent
    assert day(parts, 90, firing(0, 90, BrokerDown=(30, 50), StoreDown=(40, 60))) == ()
    assert day(parts, 90, firing(0, 90, "mongodb", BrokerDown=(30, 50), StoreDown=(40, 60))) == silent


def test_an_alert_that_fires_since_an_earlier_fault_has_not_seen_the_later_one():
    drills = {one.name: one for one in DRILLS}
    parts = [gameday.Part(1, drills["mongodb-frozen"], 0.0), gameday.Part(2, drills["cassandra-frozen"], 110.0)]
    assert day(parts, 260, firing(0, 260, StoreDown=(30, 260))) == (
        "2: cassandra-frozen: silent: none of StoreDown was seen",
    )


def test_users_who_are_late_for_too_long_after_one_fault_of_the_day_fail_it_by_its_name():
    drills = {one.name: one for one in DRILLS}
    parts = [gameday.Part(1, drills["mongodb-frozen"], 0.0), gameday.Part(2, drills["broker-kill"], 300.0)]
    notes = firing(0, 400, StoreDown=(30, 60), BrokerDown=(325, 350))
    notes += [Note(float(at), CASSANDRA, {"ends": {"0": 10**9}}) for at in (-100, 399)]

    def read(late_until: float) -> Evidence:
        fetched = [float(at) for at in range(390)]
        stored = [max(at + 2, late_until) if at < late_until else at + 2 for at in fetched]
        begin = BEGAN.timestamp()
        passages = [
            Passage(f"{n}", begin + a, begin + b, 0, n) for n, (a, b) in enumerate(zip(fetched, stored, strict=True))
        ]
        return Evidence(begin + 395, passages=tuple(passages))

    assert day(parts, 400, notes, read(50)) == ()
    (failed,) = day(parts, 400, notes, read(140))
    assert failed == "1: mongodb-frozen: 100 s until the promise held; the bound is 30 s"
