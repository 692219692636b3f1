"""The end of a program's log, and what it writes from now on."""

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

LOOK_EVERY_S = 0.3


def last(file: Path, lines: int) -> list[str]:
    """The last lines of a log; none when there is no log yet."""
    if not file.is_file():
        return []
    with file.open(errors="replace") as log:
        return [line.rstrip("\n") for line in deque(log, lines)]


def follow(file: Path) -> Iterator[str]:
    """What is written after now, line by line, without end; a log that is rotated is read on from its start."""
    position = file.stat().st_size if file.is_file() else 0
    rest = ""
    while True:
        size = file.stat().st_size if file.is_file() else 0
        position = position if size >= position else 0
        if size > position:
            with file.open("rb") as log:
                log.seek(position)
                new = log.read()
            position += len(new)
            *whole, rest = (rest + new.decode(errors="replace")).split("\n")
            yield from whole
        time.sleep(LOOK_EVERY_S)
