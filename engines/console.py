"""What a person at the terminal reads: plain lines on standard output, also through a pipe."""

import os
import sys
import threading
from collections.abc import Sequence

_one_at_a_time = threading.Lock()


def say(text: str = "") -> None:
    """Write one line (or block of lines) at once, whole; when nobody reads any more the work goes on all the same."""
    with _one_at_a_time:
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows under their heads, columns aligned to the widest cell."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
