"""
Measure this machine's Vigie: `python -m bench [WHAT ...]`, everything without a WHAT. See docs/performance.md.

`python -m bench trial` drains with the lanes as they are, and, in turn, as --with and --tree say; `viewers` keeps the
page under viewers for ten minutes; both only when asked for. Each WHAT has a system of its own, but in the short form.
The result is kept below the state folder as JSON, Markdown and HTML.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from bench import draining, growth, ingestion, latency, pages, report, result, system, viewers
from bench.notebook import Notebook
from bench.readers import LANES
from bench.result import OURS
from bench.size import SHORT, WHOLE
from engines import config
from observability import settings
from services import hops

TRIAL, VIEWERS = "trial", "viewers"
ASKED = (TRIAL, VIEWERS)  # only when asked for
Measure = Callable[[system.System, Notebook], None]
MEASURES: Mapping[str, tuple[Measure, ...]] = {
    "ingest": (ingestion.measure,),
    "raw": (draining.parts_of_raw,),
    "stats": (draining.parts_of_stats,),
    "end-to-end": (draining.peers, latency.measure),
    "telemetry": (draining.telemetry,),
    "growth": (
        growth.stored,
        growth.backlogs,
        growth.values,
        growth.days,
        growth.checkpoints,
        growth.partitions,
    ),
    "dashboard": (pages.measure, viewers.few),
    TRIAL: (draining.trial,),
    VIEWERS: (viewers.long,),
}
FOLDER = "bench"
EXPECTED = (system.NotUp, result.NoResult, settings.WrongSetting, subprocess.SubprocessError)


def run(names: list[str], book: Notebook, changed: Mapping[str, str], short: bool) -> None:
    """
    Take the samples of these measures, those of a WHAT in a system of its own; of the short form, all in one.

    Raises:
        NotUp: a system did not start, or a reader ended by itself.
    """
    for some in [names] if short else [[name] for name in names]:
        with system.running(**changed) as of:
            for name in some:
                book.what = name
                book.note(OURS, "first user in both stores", of.first_users_s, "s", case="start")
                for measure in MEASURES[name]:
                    measure(of, book)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    made.add_argument("what", nargs="*", choices=[*MEASURES, []], metavar="WHAT", help=", ".join(MEASURES))
    made.add_argument("--short", action="store_true", help="show in a few minutes that everything measures")
    made.add_argument("--rounds", type=int, metavar="N", help="rounds, instead of three: closer figures")
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
        kept = result.begun(config.environ(system.given(changed), running=False), short=asked.short)
        tried = replace(LANES, name="tried", changed=pairs(asked.tried), root=asked.tree.resolve())
        size = SHORT if asked.short else WHOLE
        book = Notebook(replace(size, rounds=asked.rounds or size.rounds), tried)
        try:
            run(asked.what or [name for name in MEASURES if name not in ASKED], book, changed, asked.short)
        finally:
            kept = msgspec.structs.replace(
                kept, samples=book.samples, absent=book.absent, seconds=time.monotonic() - began
            )
            file = result.keep(kept, Path(env["VIGIE_STATE"]) / FOLDER)
    except EXPECTED as error:
        print(error, file=sys.stderr)
        return 1
    file.with_suffix(".md").write_text(report.markdown(kept, before))
    file.with_suffix(".html").write_text(report.html(kept, before))
    print(f"{report.markdown(kept, before)}\n{file}, .md, .html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
