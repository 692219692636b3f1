"""What an experiment says of itself, and when its fault was: what every part of a verdict is measured by."""

from collections.abc import Sequence
from dataclasses import dataclass

AGAIN_PER_S = 300.0  # messages that the lanes read again in a second, while users flow and everything watches


@dataclass(frozen=True)
class Bounds:
    """
    What an experiment says of itself, in seconds where it is a time.

    One alert of `expect` must fire with this severity within `detect_s`, and they must name all parts of `of` (stores,
    lanes, jobs: the labels of watch.PARTS); those of `allow` may fire too. The promise
    must hold again within `recover_s`, and the alert's silence is waited for `clear_s`. `silence`: the Watchdog must
    fall silent instead, as nobody is left to fire. `page_answers`: so fast must the dashboard be drawn throughout, and
    `page_says`: these words must stand in its boxes meanwhile. `alone`: it has no place in a game day. `reads_again`:
    the lanes read the whole topic again, and the promise may take as much longer as that takes at AGAIN_PER_S.
    `sets_aside`: users are spoilt on their way, and become dead letters.
    """

    expect: tuple[str, ...]
    of: tuple[str, ...] = ()
    severity: str = "ticket"
    allow: tuple[str, ...] = ()
    recover_s: float = 30.0
    detect_s: float = 120.0
    clear_s: float = 60.0
    silence: bool = False
    page_answers: float | None = None
    page_says: tuple[str, ...] = ()
    alone: bool = False
    reads_again: bool = False
    sets_aside: bool = False

    def recovery_s(self, messages: int) -> float:
        """The bound on recovery with so many messages on the topic."""
        return self.recover_s + (messages / AGAIN_PER_S if self.reads_again else 0.0)


@dataclass(frozen=True)
class Window:
    """When the fault began and ended, and when the looking did (Unix time)."""

    began: float
    ended: float
    until: float


def since(begin: float, at: Sequence[float]) -> float | None:
    return round(max(0.0, at[0] - begin), 1) if at else None
