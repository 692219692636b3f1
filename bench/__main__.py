"""
Measure this machine's Vigie: `python -m bench [WHAT ...]`, everything without a WHAT. See docs/performance.md.

Only when asked for: `trial` drains with the lanes as they are, and, in turn, as --with and --tree say; `traces` with
and without telemetry; `viewers` keeps the page under viewers for ten minutes.
What fails is told in the result, and the others go on.
The result is kept below the state folder as JSON, Markdown and HTML.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import msgspec

from bench import draining, growth, ingestion, latency, pages, report, result, system, viewers
from bench.notebook import Notebook
from bench.readers import LANES
from bench.result import OURS
from bench.size import LONG, SHORT, WHOLE
from engines import config
from observability import settings
from services import hops

TRACES, TRIAL, VIEWERS = "traces", "trial", "viewers"
ASKED = (TRACES, TRIAL, VIEWERS)  # only when asked for
Measure = Callable[[system.System, Notebook], None]
MEASURES: Mapping[str, tuple[Measure, ...]] = {  # in this order: slow readers first, while there is little to read
    "end-to-end": (draining.peers, latency.measure),
    "raw": (draining.parts_of_raw,),
    "stats": (draining.parts_of_stats,),
    "telemetry": (draining.watched, draining.at_rest),
    "dashboard": (pages.measure, viewers.few),
    "ingest": (ingestion.measure,),
    "growth": (growth.checkpoints, growth.sizes, growth.days),
    TRACES: (draining.traces,),
    TRIAL: (draining.trial,),
    VIEWERS: (viewers.long,),
}
NEW_SYSTEM = (growth.checkpoints, growth.sizes)  # for these it must be one that has had nothing else
FOLDER = "bench"
EXPECTED = (system.NotUp, result.NoResult, settings.WrongSetting, subprocess.SubprocessError)


def run(names: Collection[str], book: Notebook, changed: Mapping[str, str], kept: Callable[[], object]) -> None:
    """
    Take the samples of these measures in one system, and in a new one where it must be, or where one failed.

    Raises:
        NotUp: a system did not start.
    """
    asked = [(name, measure) for name in MEASURES if name in names for measure in MEASURES[name]]
    with ExitStack() as stack:
        of: system.System | None = None
        for book.what, measure in asked:
            if measure is growth.checkpoints and not book.size.batches:
                continue
            if of is None or (measure in NEW_SYSTEM and book.size.apart):
                stack.close()
                of = stack.enter_context(system.running(**changed))
                book.note(OURS, "first user in both stores", of.first_users_s, "s", case="start")
            try:
                measure(of, book)
            except Exception as error:  # noqa: BLE001 what the others have measured and will must not go with it
                book.fail(f"{book.what}, {measure.__module__}.{measure.__name__}", error)
                of = None
            kept()


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    made.add_argument("what", nargs="*", choices=[*MEASURES, []], metavar="WHAT", help=", ".join(MEASURES))
    made.add_argument("--short", action="store_true", help="show in a few minutes that everything measures")
    made.add_argument("--long", action="store_true", help="growth up to a million users stored, and of checkpoints")
    made.add_argument("--rounds", type=int, metavar="N", help="rounds, instead of two or three: closer figures")
    made.add_argument("--against", type=Path, metavar="JSON", help="an earlier result to compare with")
    made.add_argument("--with", action="append", default=[], metavar="KEY=VALUE", dest="tried", help="what is tried")
    made.add_argument("--tree", type=Path, default=settings.ROOT, help="the working tree whose lanes are tried")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the system")
    return made


def pairs(words: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """`KEY=VALUE` words as pairs."""
    parted = (word.partition("=") for word in words)
    return tuple((key, value) for key, _, value in parted)


def main(argv: list[str] | None = None) -> int:
    asked = parser().parse_args(argv)
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whatever was started is ended
    hops.hush()
    try:
        env = settings.environ(running=False)
        changed = dict(pairs(asked.set))
        before = result.load(asked.against) if asked.against else None
        tried = replace(LANES, name="tried", changed=pairs(asked.tried), root=asked.tree.resolve())
        size = SHORT if asked.short else LONG if asked.long else WHOLE
        if asked.rounds:
            size = replace(size, rounds=asked.rounds, turns=asked.rounds)
        book = Notebook(size, tried)
        form = {"rounds": str(size.rounds), "turns": str(size.turns), "stored": f"{size.stored[-1]:,}"}
        kept = result.begun(config.environ(system.given(changed), running=False), form, short=asked.short)

        def keep() -> Path:
            found = msgspec.structs.replace(
                kept, samples=book.samples, absent=book.absent, seconds=time.monotonic() - began
            )
            return report.keep(found, before, Path(env["VIGIE_STATE"]) / FOLDER)

        try:
            run(asked.what or [name for name in MEASURES if name not in ASKED], book, changed, keep)
        finally:
            file = keep()
    except EXPECTED as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{file.with_suffix('.md').read_text()}\n{file}, .md, .html")
    return int(book.failed)


if __name__ == "__main__":
    sys.exit(main())
