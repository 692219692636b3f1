"""
The clock of one program is off, while it runs: a system started with VIGIE_CLOCKS=ingest (or other programs).

    NoClock         the program was not started so that its clock can be moved
"""

from engines import clocks
from engines.state import State


class NoClock(Exception):
    """The program was not started so that its clock can be moved; the text says how."""


def shift(state: State, program: str, seconds: int) -> None:
    """
    Put this program's clock so many seconds ahead (below 0: behind) of the others', within two seconds.

    Raises:
        NoClock: it cannot be moved.
    """
    file = clocks.file(state, program)
    if not file.is_file():
        raise NoClock(f"the clock of {program} cannot be moved: make up VIGIE_CLOCKS={program}")
    new = file.with_suffix(".new")
    new.write_text(f"{seconds:+d}\n")
    new.rename(file)
