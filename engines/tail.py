"""The end of a program's log, what it writes from now on, and the lines of one trace from all of them."""

import json
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOOK_EVERY_S = 0.3
FIRST = ("at", "service", "hop", "level", "event")  # of a line that is JSON; its other keys are fields
IDS = ("trace_id", "span_id")


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


def of_trace(folder: Path, trace_id: str) -> list[str]:
    """What all programs have logged of one trace, in the order of time; also in logs that were rotated."""
    found: list[tuple[str, str]] = []
    for file in sorted([*folder.glob("*.log"), *folder.glob("*.log.*")]):
        with file.open(errors="replace") as log:
            lines = [parsed(line) for line in log if trace_id in line]
        found += [(str(one.get("at", "")), shown(one)) for one in lines if one.get("trace_id") == trace_id]
    return [line for _, line in sorted(found, key=lambda one: one[0])]


def parsed(line: str) -> dict[str, Any]:
    """A line that is a JSON object; empty for every other."""
    try:
        known = json.loads(line)
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}


def shown(known: dict[str, Any]) -> str:
    """When, who, where, how bad, what; then the fields."""
    at, service, hop, level, event = (str(known.get(key, "")) for key in FIRST)
    fields = " ".join(f"{key}={value}" for key, value in known.items() if key not in (*FIRST, *IDS))
    return f"{at:<29} {service:<9} {hop:<20} {level:<7} {event}  {fields}".rstrip()
