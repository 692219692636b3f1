"""
The verdict of a drill, from what was read and noted: pure, so that tests can plant every fault it claims to see.

FAIL where a user is lost, doubled or made up, a sum is wrong, an expected alert was silent, one that calls somebody
fired unasked, the promise held again too late, the page stopped answering, or the fault itself could not be made.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chaos import alerts, watch
from chaos.alerts import PAGE, Alerts
from chaos.bounds import Bounds, Window, since
from chaos.evidence import Evidence, Passage
from chaos.watch import Note

LATE_S = 10.0
HELD_S = 10.0  # the promise holds again when nobody has been late for so long
BROKEN = 0.01  # of the users may be late: docs/slo.md
SHOWN = 5
SETS = ("lost", "doubled", "phantom", "wrong")  # of users


@dataclass(frozen=True)
class Users:
    """Who or what is not as it must be, by name; all empty when all is well. `unknown`: the sets that nobody knows."""

    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    phantom: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def sentence(self) -> str:
        named = {"lost": self.lost, "doubled": self.doubled, "phantom": self.phantom, "wrong sums": self.wrong}
        return "; ".join(f"{len(ids):,} {word}: {few(ids)}" for word, ids in named.items() if ids)


@dataclass(frozen=True)
class Flow:
    """
    Seconds from the fault's end until nobody was late any more; who was late, and by how much at most.

    `relapsed` of the `later` users who were fetched after that were late.
    """

    recover_s: float | None
    delayed: int = 0
    slowest_s: float = 0.0
    backlog: int = 0
    relapsed: int = 0
    later: int = 0


@dataclass(frozen=True)
class Page:
    """The dashboard during the fault: how often it was drawn, how often not, the slowest, and what its boxes said."""

    answers: int = 0
    silent: int = 0
    slowest_ms: float = 0.0
    first_silence: str = ""
    says: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The whole answer; `failed` has a sentence for each thing that failed."""

    users: Users
    alerts: Alerts
    flow: Flow
    page: Page
    failed: tuple[str, ...]

    @property
    def word(self) -> str:
        return "FAIL" if self.failed else "PASS"


def few(ids: Iterable[str]) -> str:
    listed = sorted(ids)
    return ", ".join(listed[:SHOWN]) + (" …" if len(listed) > SHOWN else "")


def users(found: Evidence, before: Evidence | None = None) -> Users:
    """Compare the sets; what strangers had put on the topic `before` the drill is not its doing."""
    had = users(before) if before else Users()
    strangers = set(had.doubled) - set(found.must or ())
    lost = set(found.must or ()) - set(found.stored) - set(found.dead)
    lost |= {user for user in found.on_topic if user not in found.stored} & set(found.must or found.on_topic)
    lost |= set(found.poison) - set(found.letters)
    lost |= set(found.gaps)
    if before and before.kept and found.kept:
        lost |= set(before.stored) - set(found.stored)
    twice = {user for counts in (found.stored, found.on_topic) for user, n in counts.items() if n > 1}
    phantom = set(found.stored) - set(found.served) if found.served is not None else set()
    wrong = {
        f"{key}: {found.expected.get(key, (0, 0))} expected, {found.summed.get(key, (0, 0))} summed"
        for key in {**found.expected, **found.summed}
        if found.expected.get(key, (0, 0)) != found.summed.get(key, (0, 0))
    } | set(found.totals)
    return Users(
        lost=tuple(sorted(lost)),
        doubled=tuple(sorted(twice - strangers)),
        phantom=tuple(sorted(phantom - set(had.phantom))),
        wrong=tuple(sorted(wrong)),
        unknown=("phantom",) if found.served is None else (),
    )


def flow(window: Window, found: Evidence, notes: Sequence[Note]) -> Flow:
    """
    Who was late in either store, from the users' own times and from when the stats lane was seen past each.

    A relapse is looked for until the reading begins: to read every user keeps the stores busy.
    """
    passed = [
        (note.at, note.values["ends"]) for note in notes if note.source == watch.CASSANDRA and "ends" in note.values
    ]
    overdue: list[tuple[float, float]] = []  # from when a user was late until they were there
    fresh: list[float] = []  # when users that were fetched after the fault were in both stores
    took: list[tuple[float, bool]] = []
    for one in relevant(window, found.passages):
        at = summed_at(one, passed)
        done = max(one.stored, window.until if at is None else at)
        late = done - one.fetched > LATE_S
        took.append((one.fetched, late))
        if late:
            overdue.append((one.fetched + LATE_S, done))
        if one.fetched >= window.ended:
            fresh.append(done)
    slowest = max((LATE_S + done - since_ for since_, done in overdue), default=0.0)
    again = held(max(window.ended, min(fresh)), overdue) if fresh else None
    recovered = since(window.ended, [again] if again and again < window.until else [])
    later = [late for fetched, late in took if again and again <= fetched <= min(window.until, found.at) - LATE_S]
    return Flow(recovered, len(overdue), round(slowest, 1), backlog(window, notes), sum(later), len(later))


def held(begin: float, overdue: Sequence[tuple[float, float]]) -> float:
    """The first moment from `begin` on after which nobody is overdue for HELD_S."""
    for since_, done in sorted(overdue):
        if since_ > begin + HELD_S:
            break
        begin = max(begin, done)
    return begin


def relevant(window: Window, passages: Iterable[Passage]) -> list[Passage]:
    """Those that were under way since the fault began, up to when nobody looked any more."""
    return sorted(
        (one for one in passages if window.began - 30 <= one.fetched <= window.until - LATE_S),
        key=lambda one: one.fetched,
    )


def summed_at(one: Passage, passed: Sequence[tuple[float, Mapping[str, int]]]) -> float | None:
    """
    When the stats lane was first seen to be past this user's message (the ends grow, so it is searched for): None if it
    never was, 0 if it was when the looking began.
    """
    low, high = 0, len(passed)
    while low < high:
        middle = (low + high) // 2
        if passed[middle][1].get(str(one.partition), 0) > one.offset:
            high = middle
        else:
            low = middle + 1
    if low == len(passed):
        return None
    return passed[low][0] if low else 0.0


def backlog(window: Window, notes: Sequence[Note]) -> int:
    """The most messages that waited anywhere: in the outbox, or unread by the lane that was further behind."""
    waiting = [note.values["rows"] for note in notes if note.source == watch.OUTBOX and "rows" in note.values]
    unread = [
        note.values.get(f"unread {lane}", 0)
        for note in notes
        if note.source == watch.METRICS and note.at >= window.began
        for lane in ("raw", "stats")
    ]
    return int(max([*waiting, *unread], default=0))


def page(window: Window, notes: Sequence[Note]) -> Page:
    """What the dashboard said from the fault's begin to its end."""
    during = [note for note in notes if note.source == watch.PAGE and window.began <= note.at <= window.ended]
    silent = [note for note in during if note.values.get("status") != 200]
    return Page(
        answers=len(during) - len(silent),
        silent=len(silent),
        slowest_ms=max((note.values.get("ms", 0) for note in during), default=0),
        first_silence=str(silent[0].values.get(watch.DOWN, silent[0].values)) if silent else "",
        says=tuple(dict.fromkeys(words for note in during for words in note.values.get("says", []))),
    )


def judge(
    bounds: Bounds,
    window: Window,
    before: Evidence,
    after: Evidence,
    notes: Sequence[Note],
    *,
    undone: Sequence[str] = (),
    compared: bool = True,
) -> Verdict:
    """
    The verdict on a drill; `undone` says which of its steps failed. Not `compared`: users could not be read `after` it,
    so that nothing is known of them.
    """
    of_users = users(after, before) if compared else Users(unknown=SETS)
    of_alerts, of_flow, of_page = alerts.noticed(bounds, window, notes), flow(window, after, notes), page(window, notes)
    failed = [*undone]
    for word, ids in (("lost", of_users.lost), ("doubled", of_users.doubled), ("phantom", of_users.phantom)):
        if ids:
            failed.append(f"{len(ids):,} {word}: {few(ids)}")
    if of_users.wrong:
        failed.append(f"{len(of_users.wrong):,} wrong sums: {few(of_users.wrong)}")
    if not bounds.sets_aside:
        aside = (set(after.dead) - set(before.dead)) & set(after.must or ())
        if aside:
            failed.append(f"{len(aside):,} users were set aside, though nothing was wrong with them: {few(aside)}")
    failed += alerts.undetected(bounds, of_alerts)
    failed += alerts.unwatched(bounds, window, notes)
    failed += [f"{name} called somebody, unasked" for name, how in of_alerts.unexpected.items() if how == PAGE]
    if of_flow.recover_s is None:
        failed.append("late: the promise did not hold again while it was looked at")
    elif of_flow.recover_s > (bound := bounds.recovery_s(sum(before.on_topic.values()))):
        failed.append(f"late: {of_flow.recover_s:.0f} s until the promise held; the bound is {bound:.0f} s")
    elif not of_flow.later:
        failed.append("nobody who was fetched after the promise had held was looked at")
    failed += relapse(of_flow)
    failed += unseen(bounds, of_page)
    return Verdict(of_users, of_alerts, of_flow, of_page, tuple(failed))


def unseen(bounds: Bounds, found: Page) -> list[str]:
    """The page did not answer, or did not say what it had to."""
    wrong = []
    if bounds.page_answers is not None:
        slow = found.slowest_ms > bounds.page_answers * 1000
        if found.silent or slow or not found.answers:
            wrong.append(f"the page: {found.silent} answers missing, the slowest took {found.slowest_ms:.0f} ms")
    return wrong + [f"the page never said {word}" for word in bounds.page_says if word not in " ".join(found.says)]


def relapse(found: Flow) -> list[str]:
    """The promise is of 99 in 100 users; it must go on holding once it held again."""
    if found.relapsed <= found.later * BROKEN:
        return []
    return [f"late again: {found.relapsed:,} of {found.later:,} users who were fetched after the promise had held"]


def plain(verdict: Verdict) -> dict[str, Any]:
    """As the journal keeps it."""
    return {"verdict": verdict.word, **asdict(verdict)}
