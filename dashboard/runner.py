"""
The one drill that the page may run: `python -m chaos NAME` as a process of its own, its words in a file.

    Busy    one runs already
"""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from observability.logs import Log
from observability.settings import MARK, ROOT

OUTPUT = "page.log"  # in the state folder's drills/: what the last one said
MOST = 16_384  # characters of it that are shown

log = Log(__name__)


class Busy(Exception):
    """One runs already; the text is its name."""


@dataclass(frozen=True)
class Run:
    """A drill that was started here."""

    name: str
    who: str
    since: datetime
    process: subprocess.Popen[bytes]

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.poll()


class Runner:
    """Runs one at a time, for all viewers."""

    def __init__(self, folder: Path, command: tuple[str, ...] = (sys.executable, "-m", "chaos")) -> None:
        self._folder = folder
        self._command = command
        self._lock = threading.Lock()
        self.last: Run | None = None

    def start(self, name: str, who: str) -> Run:
        """
        Start it.

        Raises:
            Busy: one runs.
            OSError: it cannot be started, or its words cannot be written.
        """
        with self._lock:
            if self.last is not None and self.last.code is None:
                raise Busy(self.last.name)
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / OUTPUT).open("wb") as output:
                process = subprocess.Popen(
                    [*self._command, name],
                    cwd=ROOT,
                    env={key: value for key, value in os.environ.items() if key != MARK} | {"PYTHONUNBUFFERED": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # it rolls back by itself, also when the page is stopped: no mark, no group
                )
            self.last = Run(name, who, datetime.now(UTC), process)
            log.warning("a drill was started from the page", drill=name, who=who, pid=process.pid)
            return self.last

    def stop(self, who: str) -> None:
        """Ask the drill to stop: it makes everything as it was."""
        with self._lock:
            if self.last is not None and self.last.code is None:
                log.warning("a drill was stopped from the page", drill=self.last.name, who=who)
                self.last.process.send_signal(signal.SIGINT)

    def words(self) -> str:
        """The end of what the last one said."""
        try:
            return (self._folder / OUTPUT).read_text(errors="replace")[-MOST:]
        except OSError:
            return ""
