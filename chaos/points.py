"""
Kill points of the Spark driver: armed here, reached in the middle of a batch.

    UnknownPoint    no lane knows a point of that name
"""

from pathlib import Path

from engines.state import State
from spark.contract import KILL_POINTS, POINTS_FOLDER


class UnknownPoint(Exception):
    """No lane knows a point of that name; the text has those that there are."""


def arm(state: State, point: str) -> None:
    """
    Let the driver die when it next comes to `point`, one of KILL_POINTS; the supervisor starts it again.

    Raises:
        UnknownPoint: there is none of that name.
    """
    if point not in KILL_POINTS:
        raise UnknownPoint(f"{point}: no such point; there are {', '.join(KILL_POINTS)}")
    _file(state, point).parent.mkdir(exist_ok=True)
    _file(state, point).touch()


def armed(state: State) -> list[str]:
    """The points that were armed and not yet reached."""
    return [point for point in KILL_POINTS if _file(state, point).exists()]


def disarm(state: State) -> None:
    """Take back what is armed and not yet reached."""
    for point in KILL_POINTS:
        _file(state, point).unlink(missing_ok=True)


def _file(state: State, point: str) -> Path:
    return state.root / POINTS_FOLDER / point
