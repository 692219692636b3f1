"""
Kill points of the Spark driver: armed here, reached in the middle of a batch.

    UnknownPoint    no lane knows a point, or a death, of that name
"""

from pathlib import Path

from engines.state import State
from spark.contract import DEATHS, KILL_POINTS, KILLED, POINTS_FOLDER


class UnknownPoint(Exception):
    """No lane knows a point, or a death, of that name; the text has those that there are."""


def arm(state: State, point: str, death: str = KILLED) -> None:
    """
    Let the driver die when it next comes to `point`, one of KILL_POINTS; the supervisor starts it again.

    `death` is KILLED, or OUT_OF_MEMORY: the JVM's heap is filled until it ends.

    Raises:
        UnknownPoint: there is none of that name.
    """
    for word, known in ((point, KILL_POINTS), (death, DEATHS)):
        if word not in known:
            raise UnknownPoint(f"{word}: no such point or death; there are {', '.join(known)}")
    file = _file(state, point)
    file.parent.mkdir(exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(death)
    new.rename(file)


def armed(state: State) -> list[str]:
    """The points that were armed and not yet reached."""
    return [point for point in KILL_POINTS if _file(state, point).exists()]


def disarm(state: State) -> None:
    """Take back what is armed and not yet reached."""
    for point in KILL_POINTS:
        _file(state, point).unlink(missing_ok=True)


def _file(state: State, point: str) -> Path:
    return state.root / POINTS_FOLDER / point
