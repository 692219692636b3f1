"""What alerts say of a drill: when the expected one was seen, when it was silent again, and which nobody expected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile, pairwise
from typing import Any

from chaos import watch
from chaos.bounds import Bounds, Window, since
from chaos.watch import Note

PAGE = "page"
WATCHDOG = "Watchdog"
ALERTMANAGER = "alertmanager"  # the job
# Told after many drills, and rightly: the week's budget of late users is being spent, and programs start again often.
OF_DRILLING = ("FreshnessBurn14x", "FreshnessBurn6x", "FreshnessBurn3x", "FreshnessBurn1x", "ProcessRestarting")
SILENT_S = 3.0  # no word of the Watchdog for so long is its silence


@dataclass(frozen=True)
class Alerts:
    """Seconds from the fault to the expected alert (pending, firing), from its end to its silence; the others."""

    seen: str = ""
    pending_s: float | None = None
    detect_s: float | None = None
    cleared_s: float | None = None
    unexpected: Mapping[str, str] = field(default_factory=dict)  # name -> severity: somebody was told
    fired: tuple[str, ...] = ()  # everything that fired, in its order


def noticed(bounds: Bounds, window: Window, notes: Sequence[Note]) -> Alerts:
    """Which alerts fired from the fault's begin on, and when."""
    if bounds.silence:
        return of_silence(bounds, window, notes)
    said = [note for note in notes if note.source == watch.ALERTS and watch.DOWN not in note.values]
    before = [note for note in said if note.at < window.began]
    during = [note for note in said if window.began <= note.at]
    if before and wanted(bounds, before[-1]):  # what fires already is of an earlier fault
        during = list(dropwhile(lambda note: wanted(bounds, note), during))
    firing = [(note.at, name) for note in during for name in sorted(wanted(bounds, note))]
    seen = firing[0][1] if firing else ""
    pending = [note.at for note in during if set(bounds.expect) & {*note.values["pending"], *note.values["firing"]}]
    last = firing[-1][0] if firing else None
    silent = [note.at for note in during if last is not None and note.at > last]
    fired = dict.fromkeys(name for note in during for name in note.values["firing"] if name != WATCHDOG)
    return Alerts(
        seen=seen,
        pending_s=since(window.began, pending[:1]),
        detect_s=since(window.began, [at for at, _ in firing[:1]]),
        cleared_s=since(window.ended, silent[:1]),
        unexpected=unexpected(bounds, window, notes),
        fired=tuple(fired),
    )


def wanted(bounds: Bounds, note: Note) -> set[str]:
    """The expected alerts that fire in this note, with the severity and of the parts that were expected."""
    firing: Mapping[str, str] = note.values["firing"]
    found = {name for name in bounds.expect if firing.get(name) == bounds.severity}
    return found if set(bounds.of) <= {part for name in found for part in parts(note.values, "firing", name)} else set()


def parts(said: Mapping[str, Any], state: str, name: str) -> set[str]:
    """What of the system an alert in this state (pending, firing) names."""
    return set(said.get(f"{state} of", {}).get(name, ()))


def awaited(bounds: Bounds, said: Mapping[str, Any]) -> set[str]:
    """The expected alerts that fire or are about to, of any part that was expected."""
    return {
        name
        for state in ("firing", "pending")
        for name in set(bounds.expect) & set(said[state])
        if not bounds.of or parts(said, state, name) & set(bounds.of)
    }


def of_silence(bounds: Bounds, window: Window, notes: Sequence[Note]) -> Alerts:
    """Nobody is left to fire: what an operator's dead man's switch sees is that the Watchdog is silent."""
    heard = [note.at for note in notes if note.source == watch.ALERTS and WATCHDOG in note.values.get("firing", {})]
    times = [window.began, *(at for at in heard if at > window.began), window.until]
    silences = [(one, other) for one, other in pairwise(times) if other - one > SILENT_S]
    began, ended = silences[0] if silences else (None, None)
    return Alerts(
        seen=f"silence of the {WATCHDOG}" if began else "",
        detect_s=round(began + SILENT_S - window.began, 1) if began else None,
        cleared_s=round(max(0.0, ended - window.ended), 1) if ended and ended < window.until else None,
        unexpected=unexpected(bounds, window, notes),
    )


def unexpected(bounds: Bounds, window: Window, notes: Sequence[Note]) -> dict[str, str]:
    """Those that somebody was told of, though neither expected nor allowed, and not all the time since before."""
    fine = {*bounds.expect, *bounds.allow, *OF_DRILLING, WATCHDOG}
    told = [note for note in notes if note.source == watch.TOLD and "active" in note.values]
    since_before = {name for note in told if note.at < window.began for name in note.values["active"]}
    found: dict[str, str] = {}
    for note in told:
        if note.at < window.began:
            continue
        since_before &= set(note.values["active"])
        found |= {name: how for name, how in note.values["active"].items() if name not in fine | since_before}
    return found


def unwatched(bounds: Bounds, window: Window, notes: Sequence[Note]) -> list[str]:
    """
    Who was asked what fires, and answered less than half of the time; an Alertmanager that is what is broken has to
    once it is back, and a drill that blinds Prometheus is judged by that.
    """
    wrong = []
    for source in () if bounds.silence else (watch.ALERTS, watch.TOLD):
        begin = window.ended if source == watch.TOLD and ALERTMANAGER in bounds.of else window.began
        during = [note for note in notes if note.source == source and begin <= note.at]
        silent = [note for note in during if watch.DOWN in note.values]
        if len(silent) > len(during) / 2:
            wrong.append(f"nobody could say which alerts fired: {source}: {silent[0].values[watch.DOWN]}")
    return wrong


def undetected(bounds: Bounds, found: Alerts) -> list[str]:
    """The expected alert was silent, or late."""
    if (bounds.expect or bounds.silence) and found.detect_s is None:
        return [f"silent: none of {', '.join(bounds.expect) or WATCHDOG + ' falling silent'} was seen"]
    if found.detect_s is not None and found.detect_s > bounds.detect_s:
        return [f"{found.seen} after {found.detect_s:.0f} s; the bound is {bounds.detect_s:.0f} s"]
    return []
