"""
Programs whose clock a drill may move (VIGIE_CLOCKS): they run with Debian's libfaketime, and read a file for how much.

Only the time of day is moved; what is measured by the monotonic clock goes on as it was.
"""

from pathlib import Path

from engines.config import Config
from engines.state import State

LIBRARY = "faketime/libfaketimeMT.so.1"
PLACES = ("/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")
RIGHT = "+0\n"


def movable(config: Config) -> list[str]:
    """The names of the programs."""
    return [name for name in config.clocks.split(",") if name]


def library() -> Path | None:
    """libfaketime, if it is installed."""
    return next((place for place in (Path(folder, LIBRARY) for folder in PLACES) if place.is_file()), None)


def by_clock(config: Config, state: State, program: str) -> tuple[str, ...]:
    """The start of a program's command line: what lets its clock be moved."""
    if program not in movable(config):
        return ()
    return (
        "env",
        f"LD_PRELOAD={library()}",
        f"FAKETIME_TIMESTAMP_FILE={file(state, program)}",
        "FAKETIME_CACHE_DURATION=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "NO_FAKE_STAT=1",
    )


def file(state: State, program: str) -> Path:
    """Where the program reads how far off its clock is: `+3600`, in seconds."""
    return state.config / f"{program}.clock"


def prepare(config: Config, state: State) -> None:
    """All clocks are right."""
    for program in movable(config):
        file(state, program).write_text(RIGHT)


def problems(config: Config) -> list[str]:
    """Clocks that cannot be moved here."""
    if not movable(config) or library():
        return []
    return [f"VIGIE_CLOCKS={config.clocks}: libfaketime is not there: Debian: apt install faketime (Linux only)"]
