"""A kill point ends the process and its children once; unarmed it does nothing."""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from chaos import points
from engines.state import State
from spark.contract import BEFORE_TOTALS, KILL_POINTS

DRIVER = """
import subprocess, sys
from pathlib import Path
from spark import points
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
points.of(Path(sys.argv[1]))("stats-before-totals")
child.kill()
"""


def drive(folder: Path) -> tuple[int, int]:
    """Come to BEFORE_TOTALS in a process with a child; its exit code, and the child's pid."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, folder], capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, int(done.stdout)


def gone(pid: int, limit_s: float = 5) -> bool:
    """Whether a process has ended; one that was just killed may still be on its way out."""
    ends = time.monotonic() + limit_s
    while time.monotonic() < ends:
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.05)
                continue
        return True
    return False


def test_an_armed_point_kills_the_process_with_its_children_once(tmp_path):
    state = State(tmp_path)
    state.make()
    points.arm(state, BEFORE_TOTALS)
    points.arm(state, KILL_POINTS[0])
    code, child = drive(tmp_path)
    assert code == -signal.SIGKILL
    assert gone(child)
    assert points.armed(state) == [KILL_POINTS[0]]
    assert drive(tmp_path)[0] == 0
    points.disarm(state)
    assert points.armed(state) == []


def test_without_a_folder_nothing_is_armed(tmp_path):
    assert drive(tmp_path)[0] == 0


def test_an_unknown_point_is_refused(tmp_path):
    with pytest.raises(points.UnknownPoint, match="stats-before-totals"):
        points.arm(State(tmp_path), "halfway")
