"""
`python -m chaos`: the drills. Without a name it lists them; with names (or `all`) it runs them, one after the other.

Exit code 0: every verdict is PASS; 1: one is FAIL, or a drill was stopped; 2: the steady state does not hold, so that
nothing was broken, or there is no such drill.
"""

import argparse
import sys
from collections.abc import Sequence

from chaos import catalogue, drill, keep, target
from chaos.catalogue import Drill, WrongExperiment
from engines.supervise import NotRunning
from observability import logs
from observability.settings import WrongSetting
from services import hops

ALL = "all"


def say(text: str) -> None:
    print(text, flush=True)


def listing(drills: Sequence[Drill]) -> str:
    lines = [f"  {one.number:>3}  {one.name:<24} {one.title}" for one in drills]
    return "\n".join([*lines, "one of them: make drill NAME=…    all of them: make drill NAME=all"])


def run(drills: Sequence[Drill], aimed: target.Target) -> int:
    """Run them one after the other; the worst exit code."""
    worst = 0
    for one in drills:
        say(f"{one.name}: {one.title}")
        try:
            outcome = drill.run(one, aimed, say)
        except drill.NotStarted as error:
            say(f"  not started: {error}")
            worst = max(worst, 2)
            continue
        line = keep.keep(outcome, aimed)
        keep.mark(outcome, line, aimed)
        say(told(line) + keep.slower(line, keep.history(aimed, one.name)[:-1]))
        say(f"  {keep.folder(aimed) / line['report']}")
        if outcome.verdict is None:
            say(f"  stopped ({outcome.stopped}); everything is as it was")
            return 1
        worst = worst or (1 if outcome.verdict.failed else 0)
    return worst


def told(line: keep.Line) -> str:
    """The verdict in a few lines."""
    if "lost" not in line:
        return f"  {line['verdict']}"
    words = [f"{line[word]} {word}" for word in ("lost", "doubled", "phantom", "wrong")]
    seconds = [
        f"{word} {line[key]}"
        for word, key in (("detected", "detect_s"), ("recovered", "recover_s"), ("cleared", "cleared_s"))
    ]
    lines = [
        f"  {line['verdict']}  {', '.join(words)} sums; {line['seen'] or 'seen by nobody'}; s: {', '.join(seconds)}",
        f"  delayed {line['delayed']:,}, by at most {line['slowest_s']:.0f} s; backlog {line['backlog']:,};"
        f" noise: {', '.join(line['noise']) or 'none'}",
        *(f"  FAIL: {one}" for one in line["failed"]),
    ]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("names", nargs="*", help="the drills to run, or `all`")
    asked = parser.parse_args(argv)
    logs.start("chaos", level=40)
    hops.hush()
    try:
        names = [name for given in asked.names for name in given.replace(",", " ").split()]
        if not names:
            say(listing(list(catalogue.everything())))
            return 0
        drills = list(catalogue.everything()) if names == [ALL] else catalogue.named(names)
        return run(drills, target.made())
    except (WrongExperiment, WrongSetting, NotRunning) as error:
        say(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main())
