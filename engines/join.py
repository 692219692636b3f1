"""
The watchers join a pipeline that runs: what is not built is built beside it, then started, then waited for a while.

Nothing here stops the start: what a watcher lacks is a sentence at the end of `make up`.
"""

import time
from collections.abc import Callable, Sequence

from engines import fetch, supervise, watchers
from engines.console import say
from engines.fetch import CannotFetch
from engines.programs import Program
from engines.state import State

PATIENCE_S = 60
ASK_EVERY_S = 0.3
NEWS_EVERY_S = 5
BESIDE = "the pipeline works meanwhile; Ctrl-C does it no harm, and the next make up goes on with this"

News = Callable[[str, str], None]


def built(programs: Sequence[Program]) -> list[Program]:
    """Those that can be started now."""
    lacking = {build.name for build in watchers.unbuilt(one.family for one in programs)}
    return [one for one in programs if one.family not in lacking]


def join(programs: Sequence[Program], state: State, java: str, news: News) -> list[str]:
    """Build, start and wait for these watchers; a sentence for each that does not watch."""
    told = build(programs, java)
    able = built(programs)
    try:
        for one in able:
            supervise.start(state, one.name)
        return told + wait(able, state, news)
    except supervise.NotRunning:
        return [*told, "everything was stopped while the watchers were on their way"]


def build(programs: Sequence[Program], java: str) -> list[str]:
    """Build what these watchers lack, one by one; a sentence for each that failed."""
    lacking = watchers.unbuilt(one.family for one in programs)
    if lacking:
        say(f"building {', '.join(one.name for one in lacking)}: once, some minutes each; {BESIDE}")
    told = []
    for one in lacking:
        try:
            fetch.fetch_one(one, java)
        except CannotFetch as error:
            say(str(error))
            told.append(f"{one.name} could not be built (see above); make up tries again")
    return told


def wait(programs: Sequence[Program], state: State, news: News) -> list[str]:
    """Wait until each answers; a sentence for each that does not in PATIENCE_S."""
    waiting = list(programs)
    began = said = time.monotonic()
    while waiting and time.monotonic() - began < PATIENCE_S:
        now = supervise.processes(state)
        for one in [one for one in waiting if now[one.name].pid and one.answers()]:
            waiting.remove(one)
            news(one.name, "ready")
        if waiting and time.monotonic() - said > NEWS_EVERY_S:
            said = time.monotonic()
            news("watchers", f"waiting for {', '.join(one.name for one in waiting)}")
        if waiting:
            time.sleep(ASK_EVERY_S)
    return [f"{one.name} does not answer yet; the end of {state.log(one.name)} may say why" for one in waiting]
