"""A question has an end, whatever the one who is asked does."""

import threading
import time

import pytest

from services.rounds import Question, Unanswered


def soon() -> float:
    return time.monotonic() + 5


def until(done) -> None:
    ends = time.monotonic() + 5
    while not done():
        assert time.monotonic() < ends
        time.sleep(0.01)


class Server:
    """Something that is connected to: what was opened and closed, and how it answers."""

    def __init__(self, answer) -> None:
        self.opened, self.closed = [], []
        self.question = Question("server", self.open, answer, self.closed.append)

    def open(self) -> int:
        self.opened.append(len(self.opened))
        return self.opened[-1]

    def asked(self, ends: float | None = None):
        self.question.begin()
        return self.question.answer(soon() if ends is None else ends)


def test_a_connection_is_kept_from_one_question_to_the_next():
    server = Server(lambda connection: f"by {connection}")
    assert [server.asked(), server.asked()] == ["by 0", "by 0"]


def test_after_an_error_the_connection_is_closed_and_the_next_question_opens_another():
    def once_bad(connection: int) -> int:
        if not connection:
            raise ValueError("broken")
        return connection

    server = Server(once_bad)
    with pytest.raises(Unanswered, match="ValueError: broken"):
        server.asked()
    assert server.asked() == 1
    until(lambda: server.closed == [0])


def test_a_question_that_hangs_is_left_behind_and_its_late_answer_is_not_taken():
    hanging = threading.Event()
    server = Server(lambda connection: hanging.wait() and connection if connection == 0 else connection)
    with pytest.raises(Unanswered, match="no answer within"):
        server.asked(time.monotonic() + 0.05)
    assert (server.question.left, server.asked()) == (1, 1)
    hanging.set()
    until(lambda: server.question.left == 0)
    assert server.asked() == 1


def test_a_connection_that_opens_too_late_is_closed():
    slow, closed = threading.Event(), []

    def open_() -> str:
        slow.wait()
        return "late"

    question = Question("slow", open_, lambda connection: connection, closed.append)
    question.begin()
    with pytest.raises(Unanswered):
        question.answer(time.monotonic() + 0.05)
    slow.set()
    until(lambda: "late" in closed)


def test_a_question_that_could_not_connect_says_why():
    def refused() -> None:
        raise ConnectionRefusedError("nobody there")

    question = Question("nobody", refused, lambda one: one, lambda one: None)
    question.begin()
    with pytest.raises(Unanswered, match="nobody there"):
        question.answer(soon())


def test_dropping_opens_another():
    server = Server(lambda connection: connection)
    server.asked()
    server.question.drop()
    assert server.asked() == 1
    until(lambda: server.closed == [0])
