"""
The four answers that the operations page is for: is it working, how late is it, has anything been lost, what broke
first. Values in, words out; what is not known is said to be not known, never to be well.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Literal

from dashboard.board import LANES, RATES, Board
from dashboard.prometheus import FIRING, Alert
from dashboard.stores import Down
from dashboard.views import age, at, number, plain, span
from dashboard.words import say, word

WORKING, LATE = word("Is it working?"), word("How late is it?")
LOST, FIRST = word("Has anything been lost?"), word("What broke first?")
UNKNOWN = word("Not known")

STALE_AFTER = timedelta(seconds=30)  # Prometheus asks everybody every 5 s
AUDIT_STALE_S = 30.0  # and the auditor compares as often
URGENT = "page"  # the severity of what a user of Vigie notices; causes are a `ticket`
PROMISED_S, VERY_LATE_S = 10.0, 60.0  # the freshness objective's bound, and where it is no longer a hiccup

Colour = Literal["green", "orange", "red", "gray"]


@dataclass(frozen=True)
class Answer:
    """A question of an operator's, its answer in a word or two, and what it rests on (Markdown)."""

    question: str
    text: str
    colour: Colour
    more: str


def four(board: Board | Down, now: datetime, zone: tzinfo) -> tuple[Answer, ...]:
    """The four, in the order in which they are asked."""
    if why := blind(board, now, zone):
        return tuple(Answer(say(question), say(UNKNOWN), "gray", why) for question in (WORKING, LATE, LOST, FIRST))
    assert isinstance(board, Board)  # noqa: S101 what is down, is blind
    return working(board), late(board), lost(board), first(board, now, zone)


def blind(board: Board | Down, now: datetime, zone: tzinfo) -> str:
    """Why nothing can be said now; empty if something can."""
    if isinstance(board, Down):
        return say("{store} is unavailable since {moment}.", store=board.store, moment=at(board.since, zone))
    if board.as_of is None:
        return say("Prometheus is there, but nobody has answered it yet.")
    if now - board.as_of > STALE_AFTER:
        return say(
            "Prometheus has heard of nobody since {moment}, {age} ago.",
            moment=at(board.as_of, zone),
            age=age(board.as_of, now),
        )
    return ""


def working(board: Board) -> Answer:
    """By what fires, whom Prometheus cannot reach, and which lanes run."""
    fires = [alert for alert in board.broken if alert.state == FIRING]
    urgent = [alert for alert in fires if severity(alert) == URGENT]
    down = sorted({target.job for target in board.targets if target.health == "down"})
    stopped = [lane for lane in LANES if board.value("lane_up", lane=lane) == 0]
    reasons = [
        *([say("alerts firing: {n}, urgent: {urgent}", n=len(fires), urgent=len(urgent))] if fires else []),
        *([say("no answer from {who}", who=", ".join(down))] if down else []),
        *([say("stopped: {lanes} lane", lanes=", ".join(stopped))] if stopped else []),
        *([] if board.watchdog else [say("the watchdog alert does not fire: no rules are evaluated")]),
        *(say("{alert} is about to fire", alert=alert.name) for alert in board.broken if alert.state != FIRING),
    ]
    if urgent or stopped:
        return Answer(say(WORKING), say("No"), "red", sentence(reasons))
    if reasons:
        return Answer(say(WORKING), say("Not all of it"), "orange", sentence(reasons))
    more = say("All {n} targets answer, and no alert fires.", n=len(board.targets))
    return Answer(say(WORKING), say("Yes"), "green", more)


def late(board: Board) -> Answer:
    """By the slower lane: its users' p95 in the last minute, or the age of the oldest who waits, if that is more."""
    outbox = board.value("outbox_age") or 0.0
    known: dict[str, float] = {}
    words = []
    for lane in LANES:
        p95, behind = board.value("p95", lane=lane), board.value("behind", lane=lane)
        values = [value for value in (p95, behind) if value is not None]
        if values:
            known[lane] = max(*values, outbox)
        passed = say("no users in the last minute") if p95 is None else f"p95 {span(p95)}"
        words.append(say("{lane} lane: {passed}, {unread}", lane=lane, passed=passed, unread=unread(behind)))
    if outbox > PROMISED_S:
        words.insert(0, say("waiting in the outbox for {age}", age=span(outbox)))
    more = sentence(words)
    if len(known) < len(LANES):
        return Answer(say(LATE), say(UNKNOWN), "gray", more)
    worst = max(known.values())
    colour: Colour = "green" if worst <= PROMISED_S else "orange" if worst <= VERY_LATE_S else "red"
    return Answer(say(LATE), span(worst), colour, more)


def unread(behind: float | None) -> str:
    """What a lane has before it, by the age of the oldest."""
    if behind is None:
        return say("what is unread is not known")
    return say("unread for {age}", age=span(behind)) if behind else say("all is read")


def lost(board: Board) -> Answer:
    """By the auditor's comparison of every hop with the one before it."""
    audited = board.value("audit_age")
    if audited is None:
        more = say("The auditor has not compared the hops yet, or does not answer.")
        return Answer(say(LOST), say(UNKNOWN), "gray", more)
    compared = say("compared {age} ago", age=span(audited))
    if audited > AUDIT_STALE_S:
        silent = board.having("silent", "part")
        why = say("the auditor is stuck or stopped")
        if silent:
            why = say("no answer from {who}", who=", ".join(silent))
        return Answer(say(LOST), say(UNKNOWN), "gray", sentence([compared, why]))
    gaps = {one.labels.get("check", ""): one.value for one in board.values.get("gap", ()) if one.value}
    missing = [check.replace("_", " ") for check in RATES if board.value("gap", check=check) is None]
    if missing and not gaps:
        why = say("not compared for a whole minute yet, or at all: {hops}", hops=", ".join(missing))
        text = UNKNOWN if len(missing) == len(RATES) else word("Nothing found")
        return Answer(say(LOST), say(text), "gray", sentence([compared, why]))
    if not gaps:
        return Answer(say(LOST), say("Nothing"), "green", say("Every hop was compared {age} ago.", age=span(audited)))
    check, worst = max(gaps.items(), key=lambda gap: abs(gap[1]))
    n = number(int(abs(worst)))
    text = say("{n} users", n=n) if worst > 0 else say("{n} too many", n=n)
    return Answer(say(LOST), text, "red", sentence([say("at {hop}", hop=check.replace("_", " ")), compared]))


def first(board: Board, now: datetime, zone: tzinfo) -> Answer:
    """The oldest of the alerts: what came after may be its consequence."""
    if not board.broken:
        colour: Colour = "green" if board.watchdog else "gray"
        return Answer(say(FIRST), say("Nothing"), colour, say("No alert fires or is about to."))
    oldest = board.broken[0]
    since = say("since {moment}, {age}", moment=at(oldest.since, zone), age=age(oldest.since, now))
    colour = "red" if severity(oldest) == URGENT else "orange"
    more = sentence([since, *([say("{n} more after it", n=len(board.broken) - 1)] if len(board.broken) > 1 else [])])
    return Answer(say(FIRST), plain(oldest.name), colour, more)


def severity(alert: Alert) -> str:
    return alert.labels.get("severity", "")


def sentence(parts: list[str]) -> str:
    """`A; b.` of `a` and `b`."""
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""
