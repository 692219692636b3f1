"""
Named points of a batch at which the driver dies, once, if a drill has armed them; unarmed, one is a look at a folder.

A point is armed by a file of its name in `folder`, which goes before the driver does: the next run passes it. The file
says how it dies.
"""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from pyspark import SparkContext

from spark.contract import OUT_OF_MEMORY, POINTS_FOLDER

Reached = Callable[[str], None]

PIECE = 4 << 20  # longs of 8 bytes: an array of bytes would be brought over to Python


def of(state: Path) -> Reached:
    """What a lane calls with a point's name when it has come there."""
    return partial(reached, state / POINTS_FOLDER)


def reached(folder: Path, point: str) -> None:
    """Die here, the JVM first, if the point is armed; else return."""
    try:
        death = (folder / point).read_text()
    except FileNotFoundError:
        return
    (folder / point).unlink()
    if death == OUT_OF_MEMORY:
        fill_heap()
    kill()


def fill_heap() -> None:
    """
    Take the JVM's memory piece by piece, and keep it; it ends at the first that it has no room for.

    Raises:
        Py4JError: it has ended.
    """
    gateway: Any = SparkContext.getOrCreate()._gateway
    most = gateway.jvm.Runtime.getRuntime().maxMemory() // (PIECE * 8) + 1
    held = [gateway.new_array(gateway.jvm.long, PIECE) for _ in range(most)]
    raise MemoryError(f"{len(held)} pieces of {PIECE * 8} bytes, and the JVM lives")


def kill() -> None:
    """As by `kill -9` of everything: the JVM and the workers, and this process."""
    for process in psutil.Process().children(recursive=True):
        process.kill()
    os.kill(os.getpid(), signal.SIGKILL)
