"""
`python -m chaos`: the drills. Without a name it lists them; with names (or `all`) it runs them, one after the other.

Exit code 0: every verdict is PASS; 1: one is FAIL, or a drill was stopped; 2: the steady state does not hold, so that
nothing was broken, or there is no such drill.
"""

import argparse
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from chaos import catalogue, drill, gameday, keep, soak, target
from chaos.catalogue import Drill, WrongExperiment
from chaos.drill import Outcome
from chaos.gameday import Part
from chaos.programs import CannotBreak
from chaos.target import Target
from engines.supervise import NotRunning
from observability import lock, logs
from observability.settings import WrongSetting
from services import hops

ALL = "all"
FAULT_EVERY_MINUTES = 5.0  # of a soak
UNSEEN, OF_EACH = "seen by no alert", "each fault by its own alert, where none is named below"  # of a drill, of a day


def say(text: str) -> None:
    with suppress(OSError):  # the terminal may have gone, and a rollback has to go on
        print(text, flush=True)


def listing(drills: Sequence[Drill]) -> str:
    lines = [f"  {one.number:>3}  {one.name:<24} {one.title}" for one in drills]
    return "\n".join([*lines, "make drill NAME=…, or NAME=all (docker compose: run --rm drill …)"])


def able(env: Mapping[str, str]) -> list[Drill]:
    """Every drill that this system was started for, in turn; the others are named, each with what it lacks."""
    chosen = []
    for one in catalogue.in_turn(list(catalogue.everything())):
        if lacking := catalogue.lacks(one, env):
            say(f"left out: {one.name}: {lacking}")
        else:
            chosen.append(one)
    return chosen


def started_for(env: Mapping[str, str]) -> list[Drill]:
    """What game days and soaks are drawn of: the same seed is the same day on every system of the same shape."""
    return [one for one in catalogue.everything() if not catalogue.lacks(one, env)]


def run(drills: Sequence[Drill], aimed: Target) -> int:
    """Run them one after the other; the worst exit code."""
    codes = []
    for n, one in enumerate(drills):
        aimed.followed = n + 1 < len(drills)
        try:
            codes.append(run_one(one, aimed))
        except KeyboardInterrupt:
            say("interrupted while nothing was broken")
            return int(1 in codes) or 2
        if codes[-1] is None:
            return 1
    return max(code or 0 for code in codes) if 2 in codes and 1 not in codes else int(1 in codes)


def run_one(one: Drill, aimed: Target, judged: Callable[[Outcome], Outcome] = lambda found: found) -> int | None:
    """Run one drill, say and keep what came of it; its exit code, None when it was stopped."""
    say(f"{one.name}: {one.title}")
    try:
        outcome = judged(drill.run(one, aimed, say))
    except drill.NotStarted as error:
        say(f"  not started: {error}")
        return 2
    line = keep.keep(outcome, aimed)
    keep.mark(outcome, line, aimed)
    unseen = UNSEEN if one.bounds.expect or one.bounds.silence else OF_EACH
    say(told(line, keep.slower(line, keep.history(aimed, one.name)[:-1]), unseen))
    say(f"  {keep.folder(aimed) / line['report']}")
    if outcome.verdict is None:
        say(f"  stopped: {outcome.stopped}; {'; '.join(outcome.left) or 'everything is as it was'}")
        return None
    return int(bool(outcome.verdict.failed))


def told(line: keep.Line, slower: str = "", unseen: str = UNSEEN) -> str:
    """The verdict in a few lines; `unseen` stands for the alert where none was seen."""
    if "lost" not in line:
        return f"  {line['verdict']}"
    counted = ", ".join(f"{'?' if line[key] is None else line[key]} {word}" for key, word in keep.COUNTED.items())
    times = ", ".join(f"{word} {'-' if line[key] is None else line[key]}" for key, word in keep.TIMES.items())
    lines = [
        f"{line['verdict']}  {counted}; {line['seen'] or unseen}; seconds: {times}",
        f"delayed {line['delayed']:,}, by {line['slowest_s']:.0f} s at most; backlog {line['backlog']:,}; "
        f"noise: {', '.join(line['noise']) or 'none'}; load {line['load']:.1f}",
        *(f"FAIL: {one}" for one in line["failed"]),
        slower,
    ]
    return "\n".join(f"  {one}" for one in lines if one)


def run_day(aimed: Target, minutes: float, seed: int) -> int:
    """A game day."""
    parts = gameday.drawn(started_for(aimed.env), minutes, seed)
    say(f"make gameday MINUTES={minutes:g} SEED={seed}")
    if not parts:
        say("no fault has its place in so short a day: 20 minutes are a day")
        return 2
    for part in parts:
        say(f"  {part.begins:7.1f} s  {part.drill.name}, {part.seconds:.0f} s")
    day = gameday.composed(parts, minutes, seed)
    code = run_one(day, aimed, lambda outcome: gameday.judged(outcome, parts))
    return 1 if code is None else code


def run_soak(aimed: Target, hours: float, every_minutes: float, seed: int) -> int:
    """A soak: a long game day with few faults, while what may grow is sampled."""
    if hours < soak.LEAST_HOURS:
        say(f"HOURS={hours:g}: what grows cannot be told in less than {soak.LEAST_HOURS:g} hours")
        return 2
    if aimed.settings.compose_project:
        say("a soak reads the memory and files of programs: those of make up alone")
        return 2
    parts = soak.plan(started_for(aimed.env), hours, every_minutes, seed)
    say(f"make soak HOURS={hours:g} SEED={seed}: {len(parts)} faults, one in {every_minutes:g} minutes")
    whole = gameday.composed(parts, hours * 60, seed, title=f"A soak of {hours:g} hours, seed {seed}")
    ended: list[Outcome] = []

    def judged(outcome: Outcome) -> Outcome:
        found = gameday.judged(outcome, parts)
        if found.verdict:
            failed = (*found.verdict.failed, *soak.failures(samples, hours * 3600, float(aimed.env["VIGIE_RATE"])))
            found = replace(found, verdict=replace(found.verdict, failed=failed))
        ended.append(found)
        return found

    with soak.sampled(aimed) as samples:
        code = run_one(whole, aimed, judged)
    for outcome in ended:
        line = keep.summary(outcome)
        stem = keep.folder(aimed) / f"soak-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
        faults = shaded(parts, outcome.window.began)
        stem.with_suffix(".json").write_text(soak.journal(samples, line["verdict"], line["failed"]))
        stem.with_suffix(".html").write_text(soak.html(whole.title, samples, faults, line["verdict"], line["failed"]))
        say(f"  {stem.with_suffix('.html')}")
    return 1 if code is None else code


def shaded(parts: Sequence[Part], began: float) -> list[tuple[float, float]]:
    return [(began + part.begins, began + part.ends) for part in parts]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("names", nargs="*", help="the drills to run, or `all`")
    parser.add_argument("--gameday", type=float, metavar="MINUTES", help="drills drawn by the seed, also overlapping")
    parser.add_argument("--soak", type=float, metavar="HOURS", help="steady load, a fault now and then, what grows")
    parser.add_argument("--every", type=float, default=FAULT_EVERY_MINUTES, metavar="MINUTES", help="faults of a soak")
    parser.add_argument("--seed", type=int, help="of a game day or a soak: the same seed, the same faults")
    asked = parser.parse_args(argv)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts it behind itself has it ignored
    logs.start("chaos", level=40)
    hops.hush()
    seed = random.randrange(10_000) if asked.seed is None else asked.seed
    try:
        names = [name for given in asked.names for name in given.replace(",", " ").split()]
        if not (names or asked.gameday or asked.soak):
            say(listing(list(catalogue.everything())))
            return 0
        aimed = target.made()
        with lock.alone(keep.folder(aimed) / ".lock", "another drill is at work on this system: wait for it"):
            if asked.gameday:
                return run_day(aimed, asked.gameday, seed)
            if asked.soak:
                return run_soak(aimed, asked.soak, asked.every, seed)
            return run(able(aimed.env) if names == [ALL] else catalogue.named(names), aimed)
    except (WrongExperiment, WrongSetting, NotRunning, CannotBreak, lock.Held) as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:  # later ones are the drill's own, which rolls back
        say("interrupted before anything was broken")
        return 2


if __name__ == "__main__":
    sys.exit(main())
