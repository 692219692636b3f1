"""
One drill: the steady state, the fault, the wait, the comparison, the verdict; and the rollback, whatever happens.

    NotStarted      nothing was broken: the steady state does not hold, or an alert that is waited for fires already
"""

import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chaoslib.exit import exit_gracefully
from chaoslib.experiment import run_experiment
from chaoslib.run import RunEventHandler

from chaos import alerts, probes, verdict, watch
from chaos.bounds import Bounds, Window
from chaos.catalogue import LINUX, Drill, lacks
from chaos.evidence import Evidence
from chaos.programs import CannotBreak
from chaos.target import KEY, Target
from chaos.verdict import Verdict
from chaos.watch import Note, Places, Watch
from engines import supervise

Say = Callable[[str], None]

ANSWER_S = 30  # for Prometheus's first answer
SOON_S = 3  # what is so soon well is not waited for aloud
QUIET_S = 630  # some alerts look ten minutes back: one of an earlier drill may take so long to be silent
INTERRUPTED = 20  # the exit code by which Chaos Toolkit rolls back
ORDERS = ("start", "thaw", "up")
RECENT_S = 600  # users who agreed so lately, after an earlier drill, need not be compared again before this one
FREE_BYTES = 1_000_000_000
AGAIN_S = 600.0  # what a topic that is read again may take at most
LEAST_PATIENCE_S = 120.0  # for the promise to hold again, late as that may be
FULL = 0.9  # of the outbox's bound
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
ALWAYS = {"runtime": {"rollbacks": {"strategy": "always"}}}


class NotStarted(Exception):
    """Nothing was broken; the text says why not."""


@dataclass(frozen=True)
class Outcome:
    """What one drill leaves: Chaos Toolkit's journal, our verdict (None: it was interrupted), and what was noted."""

    drill: Drill
    journal: dict[str, Any]
    window: Window
    verdict: Verdict | None
    notes: Sequence[Note]
    stopped: str = ""  # by whom, if it did not come to its end
    left: Sequence[str] = ()  # what the rollback could not put back
    read: Evidence | None = None  # the last reading of the whole system


class Guard:
    """Stops a drill by itself when going on would harm: the disk runs full, or the outbox does."""

    def __init__(self, outbox_max_bytes: int) -> None:
        self.outbox_max_bytes, self.tripped, self.armed = outbox_max_bytes, "", False

    def __call__(self, note: Note) -> None:
        if not self.armed or self.tripped:
            return
        if note.source == watch.DISK and note.values.get("free", FREE_BYTES) < FREE_BYTES:
            self.tripped = f"only {note.values['free'] / 1e6:,.0f} MB are free on the disk"
        if note.source == watch.OUTBOX and note.values.get("bytes", 0) > FULL * self.outbox_max_bytes:
            self.tripped = f"the outbox has {note.values['bytes'] / 1e6:,.0f} MB of {self.outbox_max_bytes / 1e6:,.0f}"
        if self.tripped:
            exit_gracefully()  # as a signal to the main thread, which then rolls back


class Progress(RunEventHandler):  # type: ignore[misc]
    """Says what is done, arms the guard while the fault lasts, and lets no second Ctrl-C end a rollback."""

    def __init__(self, guard: Guard, target: Target, say: Say) -> None:
        self.guard, self.target, self.say = guard, target, say

    def started(self, experiment: Any, journal: Any) -> None:  # noqa: ARG002 its own signature
        """Chaos Toolkit's own way to be told TERM is taken for a failed action, and the drill would go on."""
        for sign in (signal.SIGTERM, signal.SIGHUP):  # a terminal that closes is an operator who has gone
            signal.signal(sign, lambda *_: self.leave(SystemExit(INTERRUPTED)))
        signal.signal(signal.SIGINT, lambda *_: self.leave(KeyboardInterrupt()))

    def leave(self, how: BaseException) -> None:
        """Once: what still takes its time ends, so that no fault is ordered after the rollback."""
        for sign in SIGNALS:
            signal.signal(sign, signal.SIG_IGN)
        self.target.stopped.set()
        raise how

    def start_method(self, experiment: Any) -> None:  # noqa: ARG002
        self.target.broken = self.guard.armed = True

    def method_completed(self, experiment: Any, state: Any = None) -> None:  # noqa: ARG002
        self.guard.armed = False

    def start_rollbacks(self, experiment: Any) -> None:  # noqa: ARG002
        self.guard.armed = False
        for sign in SIGNALS:
            signal.signal(sign, signal.SIG_IGN)

    def activity_completed(self, activity: Any, run: Any) -> None:
        said = run["output"] if run["status"] == "succeeded" else f"FAILED {why(run)}"
        self.say(f"  {activity['name']}: {str(said).strip()}")


def run(drill: Drill, target: Target, say: Say, asked: Mapping[str, watch.Asked] | None = None) -> Outcome:
    """
    Run one drill against a running system; the system is as it was before when this returns, also by an exception.

    Raises:
        NotStarted: nothing was broken.
    """
    if need := lacks(drill, target.env):
        raise NotStarted(f"it needs {need if need == LINUX else f'a system that was started with {need}'}")
    logging.getLogger("chaostoolkit").setLevel(logging.CRITICAL + 1)  # we say what it says
    guard = Guard(target.settings.outbox_max_mb * 2**20)
    places = Places(
        target.settings, target.settings.prometheus, target.settings.alertmanager, target.settings.dashboard
    )
    target.patience_s = AGAIN_S if drill.bounds.reads_again else max(LEAST_PATIENCE_S, 2 * drill.bounds.recover_s)
    target.broken, target.again_at = False, 0.0
    target.stopped.clear()
    handlers = {sign: signal.getsignal(sign) for sign in SIGNALS}
    with Watch(asked or watch.sources(places), guard) as target.watch:
        until_silent(drill.bounds, target, say)
        target.evidence[:] = recent(target.evidence[-1:])
        try:
            journal = run_experiment(
                drill.experiment,
                settings=ALWAYS,
                experiment_vars=({KEY: target}, {}),
                event_handlers=[Progress(guard, target, say)],
            )
        finally:
            for sign, handler in handlers.items():
                signal.signal(sign, handler)
        before = journal["steady_states"]["before"]
        if not journal["run"] and before and not before["steady_state_met"]:
            raise NotStarted(unmet(before))
        window = of(journal)
        stopped = (guard.tripped or "interrupted") if journal["status"] == "interrupted" else ""
        said = ""
        try:
            if not stopped and len(target.evidence) < 2:  # the steady state stopped at another probe
                said = probes.users_agree(configuration={KEY: target})
            if not stopped:
                clear(drill.bounds, target, window)
        except KeyboardInterrupt:
            stopped = "interrupted after everything was put back"
        window = Window(window.began, window.ended, time.time())
    notes = [note for note in target.watch.all() if note.at >= window.began - 30]
    left = failures(journal["rollbacks"])
    if stopped:
        return Outcome(drill, journal, window, None, notes, stopped, left)
    undone = [*failures(journal["run"]), *left, *unsteady(journal)]
    first, last, compared = target.evidence[0], target.evidence[-1], len(target.evidence) > 1
    if not compared:
        undone.append(f"users could not be compared: {said}")
    found = verdict.judge(drill.bounds, window, first, last, notes, undone=undone, compared=compared)
    return Outcome(drill, journal, window, found, notes, left=left, read=last)


def recent(read: Sequence[Evidence]) -> list[Evidence]:
    """What was read after an earlier drill and may be what was before this one: to read every user takes minutes."""
    return [one for one in read if one.at > time.time() - RECENT_S and not verdict.users(one, one).sentence()]


def until_silent(bounds: Bounds, target: Target, say: Say) -> None:
    """
    Wait until no alert fires that the drill waits for, and none that calls somebody.

    Raises:
        NotStarted: nothing runs here, nobody watches, or an alert still fires after QUIET_S.
    """

    def unseen() -> str:
        answers = target.watch and target.watch.last(watch.ALERTS)
        return "" if answers is not None else "Prometheus does not answer, so no alert would be seen"

    def firing() -> str:
        said = target.watch.last(watch.ALERTS) if target.watch else None
        if said is None or target.watch is None:
            return "Prometheus does not say what fires"
        if not (target.watch.last(watch.METRICS) or {}).get(watch.SETTLED):
            return "Prometheus has not run for long enough to fire anything (vigie:watching:settled)"
        pages = {name for name, how in said["firing"].items() if how == alerts.PAGE} - {*alerts.OF_DRILLING}
        return ", ".join(sorted(pages | alerts.awaited(bounds, said)))

    try:
        if not target.programs.states():
            raise NotStarted("nothing runs here: make up")
    except (CannotBreak, supervise.NotRunning) as error:
        raise NotStarted(f"nothing runs here: make up ({error})") from error
    for wrong, patience_s in ((unseen, ANSWER_S), (firing, QUIET_S)):
        said = probes.patient(wrong, min(SOON_S, patience_s))
        if said != probes.OK:
            say(f"  waiting, {patience_s:.0f} s at most: {said}")
            said = probes.patient(wrong, patience_s)
        if said != probes.OK:
            raise NotStarted(f"before anything was broken: {said}")


def unmet(state: dict[str, Any]) -> str:
    """The probe of a steady state that was not ok, and what it said."""
    bad = [one for one in state["probes"] if not one.get("tolerance_met")]
    return "; ".join(f"{one['activity']['name']}: {one['output'] or why(one)}" for one in bad)


def of(journal: dict[str, Any]) -> Window:
    """The fault begins with the method's first action and ends with its last: with the order, not when it is obeyed."""
    actions = [one for one in journal["run"] if one["activity"]["type"] == "action"] or journal["rollbacks"]
    ended = [
        one["start"] if one["activity"]["provider"]["func"] in ORDERS else one.get("end", one["start"])
        for one in actions
    ]
    began = datetime.fromisoformat(actions[0]["start"]).timestamp()
    return Window(began, max(datetime.fromisoformat(one).timestamp() for one in ended), time.time())


def clear(bounds: Bounds, target: Target, window: Window) -> None:
    """Wait for the alert to come, if it has not, and to be silent again; no longer than it may take."""

    def open_() -> str:
        said = alerts.noticed(bounds, Window(window.began, window.ended, time.time()), target.watch.all())  # type: ignore[union-attr]
        if said.detect_s is None:
            return "not seen" if time.time() < window.began + bounds.detect_s else ""
        return "fires" if said.cleared_s is None and time.time() < window.ended + bounds.clear_s else ""

    probes.patient(open_, max(bounds.clear_s, window.began + bounds.detect_s - time.time()))


def why(run: dict[str, Any]) -> str:
    """What a step failed of, without the traceback, which the journal has."""
    return str((run.get("exception") or ["failed"])[-1]).strip().removeprefix("chaoslib.exceptions.ActivityFailed: ")


def failures(runs: Sequence[dict[str, Any]]) -> list[str]:
    """The steps that failed: a fault that could not be made or ended, and a promise that is not kept again."""
    return [f"{one['activity']['name']}: {why(one)}" for one in runs if one.get("status") != "succeeded"]


def unsteady(journal: dict[str, Any]) -> list[str]:
    """What is not as it was before the fault; users are named by the verdict itself."""
    after = journal["steady_states"]["after"]
    if after is None:
        return [f"nobody looked whether all is well again: the experiment was {journal['status']}"]
    others = [one for one in after["probes"] if one["activity"]["provider"]["func"] != "users_agree"]
    said = unmet(after | {"probes": others})
    return [f"not as it was before: {said}"] if said else []
