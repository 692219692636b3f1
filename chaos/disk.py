"""
The disk of one program is full: the kernel refuses what it writes to files (RLIMIT_FSIZE), and nobody else notices.

Linux only, as any user; what the program has open stays open. It ends with the program: one that is started anew may
write.
"""

import psutil

from engines import supervise
from engines.state import State


def fill(state: State, program: str = "ingest") -> int:
    """Refuse every write of this program to a file from now on; return its pid."""
    return _limit(state, program, 0)


def clear(state: State, program: str = "ingest") -> int:
    """Let it write again; return its pid."""
    return _limit(state, program, psutil.RLIM_INFINITY)


def is_full(state: State, program: str = "ingest") -> bool:
    """Whether its writes are refused."""
    return psutil.Process(supervise.pid(state, program)).rlimit(psutil.RLIMIT_FSIZE)[0] == 0


def _limit(state: State, program: str, most: int) -> int:
    process = psutil.Process(supervise.pid(state, program))
    _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (hard if most == psutil.RLIM_INFINITY else most, hard))
    return process.pid
