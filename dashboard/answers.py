"""
The four answers that the operations page is for: is it working, how late is it, has anything been lost, what broke
first. Values in, words out; what is not known is said to be not known, never to be well.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Literal

from dashboard.board import LANES, Board
from dashboard.prometheus import FIRING, Alert
from dashboard.stores import Down
from dashboard.views import age, at, number, plain, span

WORKING, LATE, LOST, FIRST = "Is it working?", "How late is it?", "Has anything been lost?", "What broke first?"
UNKNOWN = "Not known"

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
        return tuple(Answer(question, UNKNOWN, "gray", why) for question in (WORKING, LATE, LOST, FIRST))
    assert isinstance(board, Board)  # noqa: S101 what is down, is blind
    return working(board), late(board), lost(board), first(board, now, zone)


def blind(board: Board | Down, now: datetime, zone: tzinfo) -> str:
    """Why nothing can be said now; empty if something can."""
    if isinstance(board, Down):
        return f"{board.store} is unavailable since {at(board.since, zone)}."
    if board.as_of is None:
        return "Prometheus is there, but nobody has answered it yet."
    if now - board.as_of > STALE_AFTER:
        return f"Prometheus has heard of nobody since {at(board.as_of, zone)}, {age(board.as_of, now)} ago."
    return ""


def working(board: Board) -> Answer:
    """By what fires, whom Prometheus cannot reach, and which lanes run."""
    fires = [alert for alert in board.broken if alert.state == FIRING]
    urgent = [alert for alert in fires if severity(alert) == URGENT]
    down = sorted({target.job for target in board.targets if target.health == "down"})
    stopped = [lane for lane in LANES if board.value("lane_up", lane=lane) == 0]
    reasons = [
        *([f"{count(len(fires), 'alert')} firing, {len(urgent)} urgent"] if fires else []),
        *([f"no answer from {', '.join(down)}"] if down else []),
        *([f"stopped: {', '.join(stopped)} lane"] if stopped else []),
        *([] if board.watchdog else ["the watchdog alert does not fire: no rules are evaluated"]),
        *(f"{alert.name} is about to fire" for alert in board.broken if alert.state != FIRING),
    ]
    if urgent or stopped:
        return Answer(WORKING, "No", "red", sentence(reasons))
    if reasons:
        return Answer(WORKING, "Not all of it", "orange", sentence(reasons))
    return Answer(WORKING, "Yes", "green", f"All {len(board.targets)} targets answer, and no alert fires.")


def late(board: Board) -> Answer:
    """By the slower lane: its users' p95 in the last minute, or the age of what it has not read, if that is more."""
    known: dict[str, float] = {}
    words = []
    for lane in LANES:
        p95, behind = board.value("p95", lane=lane), board.value("behind", lane=lane)
        values = [value for value in (p95, behind) if value is not None]
        if values:
            known[lane] = max(values)
        passed = "no users in the last minute" if p95 is None else f"p95 {span(p95)}"
        words.append(f"{lane} lane: {passed}, {unread(behind)}")
    more = sentence(words)
    if len(known) < len(LANES):
        return Answer(LATE, UNKNOWN, "gray", more)
    worst = max(known.values())
    colour: Colour = "green" if worst <= PROMISED_S else "orange" if worst <= VERY_LATE_S else "red"
    return Answer(LATE, span(worst), colour, more)


def unread(behind: float | None) -> str:
    """What a lane has before it, by the age of the oldest."""
    if behind is None:
        return "what is unread is not known"
    return f"unread for {span(behind)}" if behind else "all is read"


def lost(board: Board) -> Answer:
    """By the auditor's comparison of every hop with the one before it."""
    audited = board.value("audit_age")
    if audited is None:
        return Answer(LOST, UNKNOWN, "gray", "The auditor has not compared the hops yet, or does not answer.")
    compared = f"compared {span(audited)} ago"
    if audited > AUDIT_STALE_S:
        silent = board.having("silent", "part")
        why = f"no answer from {', '.join(silent)}" if silent else "the auditor is stuck or stopped"
        return Answer(LOST, UNKNOWN, "gray", sentence([compared, why]))
    gaps = {one.labels.get("check", ""): one.value for one in board.values.get("gap", ()) if one.value}
    if not gaps:
        return Answer(LOST, "Nothing", "green", f"Every hop was {compared}.")
    check, worst = max(gaps.items(), key=lambda gap: abs(gap[1]))
    text = f"{number(int(abs(worst)))} users" if worst > 0 else f"{number(int(-worst))} too many"
    return Answer(LOST, text, "red", sentence([f"at {check.replace('_', ' ')}", compared]))


def first(board: Board, now: datetime, zone: tzinfo) -> Answer:
    """The oldest of the alerts: what came after may be its consequence."""
    if not board.broken:
        return Answer(FIRST, "Nothing", "green" if board.watchdog else "gray", "No alert fires or is about to.")
    oldest = board.broken[0]
    since = f"since {at(oldest.since, zone)}, {age(oldest.since, now)}"
    colour: Colour = "red" if severity(oldest) == URGENT else "orange"
    more = sentence([since, *([f"{len(board.broken) - 1} more after it"] if len(board.broken) > 1 else [])])
    return Answer(FIRST, plain(oldest.name), colour, more)


def severity(alert: Alert) -> str:
    return alert.labels.get("severity", "")


def count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def sentence(parts: list[str]) -> str:
    """`A; b.` of `a` and `b`."""
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""
