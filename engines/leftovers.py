"""
Processes of this state folder that no supervisor looks after any more, found by the mark in their environment.

A supervisor that was killed leaves its children running; each carries the state folder's path in MARK.
"""

from pathlib import Path

import psutil

from observability.settings import MARK

PATIENCE_S = 8


def marked(root: Path) -> list[psutil.Process]:
    """Every process of ours that was started for this state folder, also the supervisor itself."""
    return [process for process in psutil.process_iter() if mark_of(process) == str(root)]


def mark_of(process: psutil.Process) -> str | None:
    """The state folder that a process was started for; None for a stranger's."""
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None


def end(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Ask each to end, then kill those that did not; those still there after that."""
    for process in processes:
        tell(process, kill=False)
    _, stubborn = psutil.wait_procs(processes, timeout=PATIENCE_S)
    for process in stubborn:
        tell(process, kill=True)
    return psutil.wait_procs(stubborn, timeout=PATIENCE_S)[1]


def tell(process: psutil.Process, *, kill: bool) -> None:
    """TERM or KILL one process; that it has gone meanwhile is no error."""
    try:
        (process.kill if kill else process.terminate)()
    except psutil.NoSuchProcess:
        return
