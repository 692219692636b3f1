"""The checker's own proof: each thing that a verdict claims to see is planted, and must turn it to FAIL by its name."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chaos import alerts, verdict
from chaos.bounds import Bounds, Window
from chaos.evidence import Evidence, Passage
from chaos.watch import ALERTS, CASSANDRA, DOWN, METRICS, OUTBOX, PAGE, TOLD, Note

IDS = [f"user-{n}" for n in range(60)]
WITHOUT_7 = {one: 1 for one in IDS if one != "user-7"}
BOUNDS = Bounds(expect=("BrokerDown",), severity="ticket", allow=("UnderReplicated",), recover_s=30, detect_s=60)
WINDOW = Window(began=1000.0, ended=1040.0, until=1120.0)
SUMS = {"2026-11-24T23:40 all all": (60, 1800), "2026-11-24T23:40 gender male": (31, 900)}


def fetched(n: int) -> float:
    """One user a second and two thirds, from before the fault to after it."""
    return 995.0 + n * 1.7


def passage(n: int, late_s: float = 0.0) -> Passage:
    return Passage(IDS[n], fetched(n), fetched(n) + 2 + late_s, 0, n)


GOOD = Evidence(
    at=1110.0,
    must=frozenset(IDS),
    served=frozenset(IDS),
    on_topic=dict.fromkeys(IDS, 1),
    stored=dict.fromkeys(IDS, 1),
    expected=SUMS,
    summed=SUMS,
    passages=tuple(passage(n) for n in range(60)),
)


def notes(fires_at: float = 1025.0, silent_at: float = 1050.0, name: str = "BrokerDown") -> list[Note]:
    """What was seen each second: the alert pending, firing, silent; the stats lane 3 s behind the fetch."""
    found = []
    for at in range(980, 1121):
        firing = {"Watchdog": "none"} | ({name: "ticket"} if fires_at <= at < silent_at else {})
        pending = {name: "ticket"} if fires_at - 10 <= at < fires_at else {}
        found.append(Note(at, ALERTS, {"firing": firing, "pending": pending}))
        found.append(Note(at, TOLD, {"active": firing, "suppressed": {}}))
        passed = sum(fetched(n) + 3 <= at for n in range(60))
        found.append(Note(at, CASSANDRA, {"age": 3.0, "ends": {"0": passed}}))
        found.append(
            Note(at, PAGE, {"status": 200, "ms": 12, "says": ["Cassandra is unavailable"] if at == 1020 else []})
        )
        found.append(Note(at, OUTBOX, {"rows": 40, "bytes": 9, "age": 0.2}))
        found.append(Note(at, METRICS, {"unread raw": 120.0, "unread stats": 90.0}))
    return found


def of_part(name: str) -> list[Note]:
    """The same, and the alert names this part."""
    more = {"firing of": {"BrokerDown": [name]}}
    return [note._replace(values=note.values | more) if note.source == ALERTS else note for note in notes()]


def judged(after: Evidence = GOOD, seen: list[Note] | None = None, bounds: Bounds = BOUNDS, **more: Any):
    return verdict.judge(bounds, WINDOW, GOOD, after, notes() if seen is None else seen, **more)


def test_a_drill_in_which_nothing_went_wrong_passes_with_its_figures():
    found = judged()
    assert (found.word, found.failed) == ("PASS", ())
    assert found.users == verdict.Users()
    assert (found.alerts.seen, found.alerts.pending_s, found.alerts.detect_s) == ("BrokerDown", 15.0, 25.0)
    assert found.alerts.cleared_s == 10.0
    assert found.alerts.unexpected == {}
    assert found.flow.recover_s is not None
    assert found.flow.recover_s < 10
    assert (found.flow.delayed, found.flow.backlog) == (0, 120)
    assert (found.page.answers, found.page.silent) == (41, 0)


PLANTED: dict[str, tuple[Callable[[], Any], str]] = {
    "nobody who came after it": (
        lambda: judged(replace(GOOD, at=1052.0)),
        "nobody who was fetched after the promise had held was looked at",
    ),
    "an alert that fired before the fault": (
        lambda: judged(seen=notes(fires_at=990.0, silent_at=1020.0)),
        "silent: none of BrokerDown was seen",
    ),
    "an alert of another part": (
        lambda: judged(bounds=replace(BOUNDS, of=("cassandra",)), seen=of_part("mongodb")),
        "silent: none of BrokerDown was seen",
    ),
    "nobody who tells": (
        lambda: judged(
            seen=[note._replace(values={DOWN: "ConnectionError"}) if note.source == TOLD else note for note in notes()]
        ),
        "nobody could say which alerts fired: told: ConnectionError",
    ),
    "good users set aside beside poison": (
        lambda: verdict.judge(
            replace(BOUNDS, allow=("DeadLetters",)),
            WINDOW,
            replace(GOOD, stored=WITHOUT_7),
            replace(GOOD, stored=WITHOUT_7, on_topic=WITHOUT_7, dead=frozenset({"user-7"})),
            notes(),
        ),
        "1 users were set aside, though nothing was wrong with them: user-7",
    ),
    "one of ours who was doubled before": (
        lambda: verdict.judge(BOUNDS, WINDOW, *[replace(GOOD, stored=GOOD.stored | {"user-3": 2})] * 2, notes()),
        "1 doubled: user-3",
    ),
    "a page that nobody looked at": (
        lambda: judged(
            bounds=replace(BOUNDS, page_answers=2.0), seen=[note for note in notes() if note.source != PAGE]
        ),
        "the page: 0 answers missing, the slowest took 0 ms",
    ),
    "a lost user": (
        lambda: judged(replace(GOOD, stored=WITHOUT_7)),
        "1 lost: user-7",
    ),
    "a user lost before the topic": (
        lambda: judged(
            replace(
                GOOD,
                stored=WITHOUT_7,
                on_topic=WITHOUT_7,
            )
        ),
        "1 lost: user-7",
    ),
    "a poison message without a dead letter": (
        lambda: judged(replace(GOOD, poison=frozenset({"users.raw:0:99"}))),
        "1 lost: users.raw:0:99",
    ),
    "a user stored twice": (lambda: judged(replace(GOOD, stored=GOOD.stored | {"user-3": 2})), "1 doubled: user-3"),
    "a user sent twice": (lambda: judged(replace(GOOD, on_topic=GOOD.on_topic | {"user-4": 2})), "1 doubled: user-4"),
    "a phantom": (lambda: judged(replace(GOOD, stored=GOOD.stored | {"nobody": 1})), "1 phantom: nobody"),
    "a sum that is too small": (
        lambda: judged(replace(GOOD, summed=SUMS | {"2026-11-24T23:40 gender male": (30, 870)})),
        "1 wrong sums: 2026-11-24T23:40 gender male: (31, 900) expected, (30, 870) summed",
    ),
    "a sum that should not be there": (
        lambda: judged(replace(GOOD, summed=SUMS | {"2026-11-24T23:41 all all": (1, 30)})),
        "1 wrong sums: 2026-11-24T23:41 all all: (0, 0) expected, (1, 30) summed",
    ),
    "a total that is not the sum of its parts": (
        lambda: judged(replace(GOOD, totals=("all time: 1 sums differ",))),
        "1 wrong sums: all time: 1 sums differ",
    ),
    "a silent alert": (lambda: judged(seen=notes(fires_at=2000.0)), "silent: none of BrokerDown was seen"),
    "an alert of another severity": (
        lambda: judged(bounds=replace(BOUNDS, severity="page")),
        "silent: none of BrokerDown was seen",
    ),
    "an alert that came too late": (
        lambda: judged(seen=notes(fires_at=1070.0, silent_at=1080.0)),
        "BrokerDown after 70 s; the bound is 60 s",
    ),
    "a page that nobody expected": (
        lambda: judged(seen=[*notes(), Note(1030.0, TOLD, {"active": {"UsersMissing": "page"}})]),
        "UsersMissing called somebody, unasked",
    ),
    "a late recovery": (
        lambda: judged(replace(GOOD, passages=(*(passage(n) for n in range(1, 60)), passage(0, late_s=90.0)))),
        "late: 47 s until the promise held; the bound is 30 s",
    ),
    "a store that never got anybody again": (
        lambda: judged(replace(GOOD, passages=tuple(passage(n) for n in range(20)))),
        "late: the promise did not hold again while it was looked at",
    ),
    "a page that did not answer": (
        lambda: judged(
            bounds=replace(BOUNDS, page_answers=2.0), seen=[*notes(), Note(1020.5, PAGE, {"down": "ConnectTimeout"})]
        ),
        "the page: 1 answers missing, the slowest took 12 ms",
    ),
    "a page that hides what it does not know": (
        lambda: judged(bounds=replace(BOUNDS, page_says=("Cassandra", "MongoDB"))),
        "the page never said MongoDB",
    ),
    "a message that was acknowledged and is not there": (
        lambda: judged(replace(GOOD, must=None, gaps=("topic: 61 rows were acknowledged, 60 are on the topic",))),
        "1 lost: topic: 61 rows were acknowledged, 60 are on the topic",
    ),
    "a user of a real source who was stored before": (
        lambda: judged(
            replace(
                GOOD,
                must=None,
                stored=WITHOUT_7,
                on_topic=WITHOUT_7,
            )
        ),
        "1 lost: user-7",
    ),
    "a good user who is set aside": (
        lambda: judged(replace(GOOD, dead=frozenset({"user-9"}))),
        "1 users were set aside, though nothing was wrong with them: user-9",
    ),
    "a promise that breaks again": (
        lambda: judged(replace(GOOD, passages=tuple(passage(n, 15.0 if 40 <= n < 50 else 0.0) for n in range(60)))),
        "late again: 10 of 31 users who were fetched after the promise had held",
    ),
    "a fault that could not be made": (lambda: judged(undone=["kill kafka-2: failed"]), "kill kafka-2: failed"),
}


def test_a_topic_that_is_read_again_may_take_a_second_longer_for_every_three_hundred_messages():
    late = replace(GOOD, passages=(*(passage(n) for n in range(1, 60)), passage(0, late_s=90.0)))  # by 47 s
    again = replace(BOUNDS, reads_again=True)
    for messages, word in ((5_070, "FAIL"), (5_130, "PASS")):
        before = replace(GOOD, on_topic={"somebody": messages})
        found = verdict.judge(again, WINDOW, before, late, notes())
        assert found.word == word, found.failed


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_planted_fails_the_drill_by_its_name(planted: str):
    make, sentence = PLANTED[planted]
    found = make()
    assert (found.word, found.failed) == ("FAIL", (sentence,))


def test_a_sums_lane_that_hangs_makes_its_users_late_though_mongodb_had_them():
    seen = [note for note in notes() if note.source != CASSANDRA]
    seen += [Note(at, CASSANDRA, {"ends": {"0": 5 if at < 1075 else 60}}) for at in range(980, 1121)]
    found = judged(seen=seen)
    assert found.flow.recover_s == 35.0
    assert found.flow.delayed > 20
    assert found.word == "FAIL"


def test_who_is_late_after_the_promise_has_held_again_counts_as_delayed_not_as_a_late_recovery():
    relapse = tuple(passage(n, late_s=15.0 if n == 45 else 0.0) for n in range(60))
    found = judged(replace(GOOD, passages=relapse))
    assert found.flow.delayed == 1
    assert found.flow.recover_s is not None
    assert found.flow.recover_s < 10


def test_who_was_set_aside_is_not_lost():
    aside = replace(GOOD, stored=WITHOUT_7, on_topic=WITHOUT_7, dead=frozenset({"user-7"}))
    allowed = replace(BOUNDS, sets_aside=True)
    assert verdict.judge(allowed, WINDOW, replace(GOOD, stored=WITHOUT_7), aside, notes()).word == "PASS"
    assert verdict.judge(BOUNDS, WINDOW, aside, aside, notes()).word == "PASS", "it was so before"


def test_of_users_who_could_not_be_read_nothing_is_said():
    found = judged(undone=["users could not be compared: NotFollowed"], compared=False)
    assert found.failed == ("users could not be compared: NotFollowed",)
    assert found.users.unknown == ("lost", "doubled", "phantom", "wrong")


def test_what_strangers_had_sent_before_is_not_the_drills_doing():
    there = replace(GOOD, stored=GOOD.stored | {"stranger": 1}, on_topic=GOOD.on_topic | {"stranger": 5})
    assert verdict.judge(BOUNDS, WINDOW, there, there, notes()).word == "PASS"


def test_without_a_seed_that_is_known_users_are_compared_from_the_topic_on():
    real = replace(GOOD, must=None, served=None)
    assert judged(real).word == "PASS"
    assert "1 lost: user-7" in judged(replace(real, stored=WITHOUT_7)).failed


def test_an_alert_that_nobody_is_told_of_is_no_noise_and_a_ticket_is_listed_but_fails_nothing():
    held_back = Note(1030.0, TOLD, {"active": {}, "suppressed": {"OutboxGrowing": "ticket"}})
    ticket = Note(1031.0, TOLD, {"active": {"SpansDropped": "ticket"}, "suppressed": {}})
    found = judged(seen=[*notes(), held_back, ticket])
    assert found.alerts.unexpected == {"SpansDropped": "ticket"}
    assert found.word == "PASS"


def test_an_alert_of_the_part_that_is_broken_has_seen_it():
    assert judged(bounds=replace(BOUNDS, of=("cassandra",)), seen=of_part("cassandra")).word == "PASS"
    both = verdict.judge(replace(BOUNDS, of=("cassandra", "mongodb")), WINDOW, GOOD, GOOD, of_part("cassandra"))
    assert both.failed == ("silent: none of BrokerDown was seen",)


def test_an_alert_that_fired_before_the_fault_is_none_of_its():
    others = [note for note in notes() if note.source != TOLD]
    fires = [Note(at, TOLD, {"active": {"DiskFilling": "page"}}) for at in range(980, 1121)]
    assert judged(seen=[*others, *fires]).word == "PASS"
    again = [note._replace(values={"active": {}}) if 1010 < note.at < 1020 else note for note in fires]
    assert judged(seen=[*others, *again]).failed == ("DiskFilling called somebody, unasked",)


def silence(begin: float, end: float) -> list[Note]:
    return [note for note in notes(fires_at=2000.0) if not (note.source == ALERTS and begin <= note.at < end)]


def test_where_nobody_is_left_to_fire_the_watchdogs_silence_is_what_tells():
    bounds = Bounds(expect=(), silence=True, recover_s=60)
    found = judged(bounds=bounds, seen=silence(1001.0, 1060.0))
    assert found.word == "PASS"
    assert found.alerts.detect_s == 3.0
    assert found.alerts.cleared_s == 20.0
    heard = judged(bounds=bounds, seen=silence(0.0, 0.0))
    assert heard.failed == ("silent: none of Watchdog falling silent was seen",)


@pytest.mark.parametrize(("back_at", "wrong"), [(1045, 0), (1119, 1)])
def test_an_alertmanager_that_is_killed_has_to_answer_once_it_is_back(back_at, wrong):
    window, told = replace(WINDOW, until=1060.0), []
    for note in notes():
        gone = note.source == TOLD and window.began <= note.at < back_at
        told.append(note._replace(values={DOWN: "ConnectionError"}) if gone else note)
    seen = [note for note in told if note.at <= window.until]
    bounds = replace(BOUNDS, of=("alertmanager", "jaeger"))
    assert len(alerts.unwatched(bounds, window, seen)) == wrong
    assert len(alerts.unwatched(BOUNDS, window, seen)) == 1
