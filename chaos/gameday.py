"""
A game day: drills drawn by a seed, one after another and over each other, as one experiment that is the same each time.

Two faults of the same program, or two of the source, never overlap, nor does one with what it needs to be made;
everything else may, as long as it can be told whose alert it was. Each fault must be seen by its own alert, and the
promise must hold again after each; users are compared once, at the end.
"""

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from chaos import alerts, verdict
from chaos.bounds import Bounds, Window
from chaos.catalogue import Drill, made, python
from chaos.drill import Outcome

SOURCE = "source"
SIMULATOR = "simulator"  # the program that is the source: without it, it has no faults to be ordered
BROKERS = {"kafka-1", "kafka-2", "kafka-3"}  # poison can be sent only while they run
TAKES = ("hold", "source_in_turn", "pages_again")  # the actions that take their time
OVER_EACH_OTHER = 0.5  # of the faults begin before the one before has ended
REST_S = (5.0, 35.0)  # once it can be told whether the promise held again in its bound
GRACE_S = 60.0  # after a fault, for its alert to be seen
LONG_S = 630.0  # for an alert that looks ten minutes back to be silent again

Json = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One drill of the day: when it begins, in seconds from the day's begin, and which of the day it is."""

    turn: int
    drill: Drill
    begins: float

    @property
    def seconds(self) -> float:
        return sum(seconds(activity) for activity in self.drill.method)

    @property
    def ends(self) -> float:
        return self.begins + self.seconds


def seconds(activity: Json) -> float:
    """How long one activity takes by itself."""
    arguments = activity["provider"]["arguments"]
    if activity["provider"]["func"] not in TAKES:
        return 0.0
    return float(arguments["seconds"]) * len(arguments.get("faults", [0]))


def touched(drill: Drill) -> set[str]:
    """What a drill breaks, or needs whole to break something: programs, or the source."""
    found: set[str] = set()
    for activity in drill.method:
        func = activity["provider"]["func"]
        programs = activity["provider"]["arguments"].get("programs", [])
        if func == "poison":
            found |= BROKERS
        elif func != "hold":
            found.update(SOURCE if name == SIMULATOR else name for name in programs or [SOURCE])
    return found


def told_apart(one: Part, later: Part) -> bool:
    """Whether it can be told by which of the two an alert fired that one of them must be seen by."""
    first, second = one.drill.bounds, later.drill.bounds
    if set(first.expect) & set(second.expect) and later.begins < one.ends + (first.clear_s or LONG_S):
        return False
    mixed = set(first.expect) & set(second.allow) | set(first.allow) & set(second.expect)
    return not mixed or later.begins > one.ends + GRACE_S


def drawn(drills: Sequence[Drill], minutes: float, seed: int) -> list[Part]:
    """The day's faults, in the order of their begin: the same for the same seed, minutes and drills."""
    chance = random.Random(seed)
    # those with a rollback of their own (chaos.inner) need settings, and take a time that is not known before
    able = (one for one in drills if not one.bounds.alone and len(one.experiment["rollbacks"]) == 1)
    pool = sorted(able, key=lambda one: one.name)
    parts: list[Part] = []
    begins = chance.uniform(5, 20)
    while True:
        busy = {what for part in parts if part.ends > begins - REST_S[0] for what in touched(part.drill)}
        turn, at = len(parts) + 1, round(begins, 1)
        able_now = (Part(turn, one, at) for one in pool if not touched(one) & busy)
        free = [one for one in able_now if all(told_apart(part, one) for part in parts)]
        if free:
            part = chance.choice(free)
            if part.ends > minutes * 60:
                return parts
            parts.append(part)
        last = max((part.ends for part in parts), default=begins)
        if free and chance.random() < OVER_EACH_OTHER:
            begins += chance.uniform(5, max(6.0, last - begins))
        else:
            begins = max(begins, last + patience(parts)) + chance.uniform(*REST_S)


def patience(parts: Sequence[Part]) -> float:
    """How long after the last of these, which may lie over each other, the promise may be broken, and be seen to be."""
    groups = together([(part, Window(part.begins, part.ends, part.ends)) for part in parts])
    return bound(groups[-1][0]) + verdict.LATE_S if groups else 0.0


def bound(some: Sequence[Part]) -> float:
    """Seconds until the promise must hold again after faults over each other: twice that of the longest."""
    return max(part.drill.bounds.recover_s for part in some) * (1 if len(some) == 1 else 2)


def composed(parts: Sequence[Part], minutes: float, seed: int, title: str = "") -> Drill:
    """The day as one experiment: every activity at its time, with holds between them."""
    timed = sorted(
        ((at, part.turn, activity) for part in parts for at, activity in times(part)), key=lambda one: one[:2]
    )
    method, now = [], 0.0
    for at, turn, activity in timed:
        if at > now + 0.05:
            method.append(
                python("action", f"hold until {at:.0f} s", "chaos.faults", "hold", seconds=round(at - now, 1))
            )
            now = at
        method.append(copy.deepcopy(activity) | {"name": f"{turn}: {activity['name']}"})
    last = max((part.ends for part in parts), default=0.0)
    if last > now:
        method.append(python("action", "hold to the end", "chaos.faults", "hold", seconds=round(last - now, 1)))
    written = {
        "title": title or f"A game day of {minutes:g} minutes, seed {seed}",
        "description": "; ".join(f"{part.begins:.0f} s: {part.drill.name}" for part in parts),
        "tags": ["gameday"],
        "method": method,
    }
    return made(f"{'soak' if title else 'gameday'}-{seed}", seed, bounds(parts), written)


def times(part: Part) -> list[tuple[float, Json]]:
    """The activities of a part with their times; one that takes its time goes on in the background."""
    found, at = [], part.begins
    for activity in part.drill.method:
        if activity["provider"]["func"] != "hold":
            found.append((at, activity | ({"background": True} if seconds(activity) else {})))
        at += seconds(activity)
    return found


def bounds(parts: Sequence[Part]) -> Bounds:
    """What one fault may do all may; each alert is looked for by itself, in `judged`."""
    each = [part.drill.bounds for part in parts]
    allow = {name for one in each for name in (*one.expect, *one.allow)} | {"UsersLate", "CanaryMissing"}
    return Bounds(
        expect=(),
        allow=tuple(sorted(allow)),
        recover_s=max((one.recover_s for one in each), default=30.0) * 2,
        sets_aside=any(one.sets_aside for one in each),
    )


def judged(outcome: Outcome, parts: Sequence[Part]) -> Outcome:
    """The verdict, and for each fault whether its own alert was seen, and whether the promise held again after it."""
    if outcome.verdict is None:
        return outcome
    wrong = [f"{part.turn}: {part.drill.name}: {one}" for part in parts for one in unnoticed(outcome, part)]
    late = recoveries(outcome, parts)
    return replace(outcome, verdict=replace(outcome.verdict, failed=(*outcome.verdict.failed, *wrong, *late)))


def unnoticed(outcome: Outcome, part: Part) -> list[str]:
    """What this part's alert, or the page in its time, did not say, or said too late."""
    bounds, window = part.drill.bounds, of(outcome, part)
    until = [note for note in outcome.notes if note.at <= window.ended + GRACE_S]
    of_page = verdict.unseen(bounds, verdict.page(window, outcome.notes))
    return [*alerts.undetected(bounds, alerts.noticed(bounds, window, until)), *of_page]


def recoveries(outcome: Outcome, parts: Sequence[Part]) -> list[str]:
    """A sentence for each fault, or faults over each other, after which users came late for too long, or again."""
    if outcome.read is None:
        return []
    wrong = []
    groups = together([(part, of(outcome, part)) for part in parts])
    for n, (some, began, ended) in enumerate(groups):
        until = groups[n + 1][1] if n + 1 < len(groups) else outcome.window.until
        at_most = bound(some)
        found = verdict.flow(Window(began, ended, until), outcome.read, outcome.notes)
        who = ", ".join(f"{part.turn}: {part.drill.name}" for part in some)
        if found.recover_s is None and until - ended > at_most + verdict.LATE_S:
            wrong.append(f"{who}: the promise did not hold again within {until - ended:.0f} s")
        elif found.recover_s is not None and found.recover_s > at_most:
            wrong.append(f"{who}: {found.recover_s:.0f} s until the promise held; the bound is {at_most:.0f} s")
        wrong += [f"{who}: {sentence}" for sentence in verdict.relapse(found)]
    return wrong


def together(timed: Sequence[tuple[Part, Window]]) -> list[tuple[list[Part], float, float]]:
    """Faults that lay over each other as one, from the begin of the first to the end of the last."""
    groups: list[tuple[list[Part], float, float]] = []
    for part, window in sorted(timed, key=lambda one: one[1].began):
        if groups and window.began <= groups[-1][2]:
            some, began, ended = groups.pop()
            groups.append(([*some, part], began, max(ended, window.ended)))
        else:
            groups.append(([part], window.began, window.ended))
    return groups


def of(outcome: Outcome, part: Part) -> Window:
    """When the part really began and ended, by the journal."""
    runs = [one for one in outcome.journal["run"] if one["activity"]["name"].startswith(f"{part.turn}: ")]
    began = min(datetime.fromisoformat(one["start"]).timestamp() for one in runs)
    ended = max(datetime.fromisoformat(one["end"]).timestamp() for one in runs)
    return Window(began, max(ended, began + part.seconds), outcome.window.until)
