"""
Questions that are asked over and over through a connection that is kept, each time with an end.

    Unanswered      no answer in time, or an error; the next question opens a new connection

The asking is done in a thread: a client's call can wait for ever when its connection dies at the wrong moment. Such a
thread is left behind with its connection, and after MOST_LEFT of them the process has to start anew.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

C = TypeVar("C")
A = TypeVar("A")

MOST_LEFT = 20


class Unanswered(Exception):
    """No answer in time, or an error; the text says which."""


@dataclass
class Asked(Generic[C, A]):
    """One question under way."""

    connection: C | None
    done: threading.Event = field(default_factory=threading.Event)
    answer: A | None = None
    error: Exception | None = None
    left: bool = False


class Question(Generic[C, A]):
    """`open` makes the connection when there is none, `ask` uses it, `close` ends it; one question at a time."""

    def __init__(self, name: str, open_: Callable[[], C], ask: Callable[[C], A], close: Callable[[C], object]) -> None:
        self.name, self._open, self._ask, self._close = name, open_, ask, close
        self._connection: C | None = None
        self._lock = threading.Lock()
        self._asked: Asked[C, A] | None = None
        self.left = 0  # threads that never came back

    def begin(self) -> None:
        """Ask, without waiting; every `begin` is followed by an `answer`."""
        self._asked = asked = Asked[C, A](self._connection)
        self._connection = None
        threading.Thread(target=self._run, args=(asked,), name=self.name, daemon=True).start()

    def answer(self, ends: float) -> A:
        """
        What was answered before `ends` (of time.monotonic()).

        Raises:
            Unanswered: nothing was.
        """
        asked = self._asked
        assert asked is not None, "asked before it is answered"  # noqa: S101 a caller's mistake, never a state
        began = time.monotonic()
        if not asked.done.wait(max(0.0, ends - began)):
            with self._lock:
                asked.left = not asked.done.is_set()
                self.left += asked.left
            if asked.left:
                self._end(asked.connection)
                raise Unanswered(f"no answer within {time.monotonic() - began:.0f} s")
        if asked.error is not None:
            self._end(asked.connection)
            raise Unanswered(f"{type(asked.error).__name__}: {str(asked.error)[:200]}") from asked.error
        self._connection = asked.connection
        return asked.answer  # type: ignore[return-value] # there is one where there is no error

    def drop(self) -> None:
        """Let the next question open a new connection."""
        self._end(self._connection)
        self._connection = None

    def _run(self, asked: Asked[C, A]) -> None:
        try:
            if asked.connection is None:
                asked.connection = self._open()
            asked.answer = self._ask(asked.connection)
        except Exception as error:  # noqa: BLE001 told to whoever asks; a watcher outlives what it watches
            asked.error = error
        with self._lock:
            asked.done.set()
            self.left -= asked.left  # it came back after all
        if asked.left:
            self._end(asked.connection)

    def _end(self, connection: C | None) -> None:
        if connection is not None:
            threading.Thread(target=self._quietly, args=(connection,), daemon=True).start()

    def _quietly(self, connection: C) -> None:
        with suppress(Exception):  # it is given up, whatever it says
            self._close(connection)
