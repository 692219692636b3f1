import threading

import pytest

from dashboard.queries import Newest, Sums
from dashboard.stores import FIRST_S, LATE_S, Desk, Down, Settings, Store, StoreDown, Stores, stores
from observability.settings import WrongSetting


def settings(**changes) -> Settings:
    return Settings(
        **{"cassandra_hosts": "127.0.0.1", "cassandra_port": 9, "mongo_uri": "mongodb://127.0.0.1:9"} | changes
    )


class Hours:
    """A clock that the test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


GONE = StoreDown("it cannot be reached")


def replying(*replies):
    """A question that gets these replies, one after the other; an exception is raised."""
    left = iter(replies)

    def question():
        reply = next(left)
        if isinstance(reply, Exception):
            raise reply
        return reply

    return question


def test_a_store_that_fails_says_so_since_the_first_time_and_answers_again_by_itself():
    store = Store("Cassandra", "a:1", replying(GONE, GONE, "here"))
    first, second, third = (store.answer(store.ask()) for _ in range(3))
    assert isinstance(first, Down)
    assert (first.store, first.address, first.why) == ("Cassandra", "a:1", "it cannot be reached")
    assert second == first
    assert third == "here"


def test_a_store_that_hangs_is_told_after_the_patience_and_asked_once_meanwhile():
    clock, released, asked = Hours(), threading.Event(), []

    def question() -> str:
        asked.append(1)
        released.wait(10)
        return "here"

    store = Store("MongoDB", "a:1", question, clock=clock)
    put = store.ask()
    clock.now = FIRST_S
    assert isinstance(store.answer(put), Down)
    assert store.ask() is put
    released.set()
    assert put.result(5) == "here"
    assert store.answer(store.ask()) == "here"
    assert len(asked) == 1  # it came when nobody waited, and is given to the next who asks
    assert store.answer(store.ask()) == "here"
    assert len(asked) == 2


def test_an_answer_that_came_too_late_and_is_old_is_asked_for_anew():
    clock, released, asked = Hours(), threading.Event(), []

    def question() -> int:
        asked.append(1)
        released.wait(10)
        return len(asked)

    store = Store("MongoDB", "a:1", question, clock=clock)
    put = store.ask()
    clock.now = FIRST_S
    assert isinstance(store.answer(put), Down)
    released.set()
    put.result(5)
    clock.now = LATE_S
    assert store.answer(store.ask()) == 2


def test_stores_that_hang_cost_the_patience_of_one():
    released = threading.Event()
    hung = Stores(
        Store[Sums]("Cassandra", "a:1", lambda: released.wait(10)),
        Store[Newest]("MongoDB", "a:2", lambda: released.wait(10)),
        Store[int]("MongoDB's count", "a:2", lambda: released.wait(10)),
    )
    threading.Timer(FIRST_S * 1.5, released.set).start()
    said = hung.read()
    assert all(isinstance(part, Down) for part in (said.sums, said.newest, said.stored))
    assert not released.is_set()


def test_stores_that_are_not_there_are_down_not_an_error():
    said = stores(settings()).read()
    assert all(isinstance(part, Down) for part in (said.sums, said.newest, said.stored))


def test_an_address_is_shown_without_its_password():
    assert stores(settings(mongo_uri="mongodb://me:secret@db:1,db2:2/x")).newest.address == "db:1,db2:2"


def test_a_uri_that_is_none_stops_the_start_and_names_the_key():
    with pytest.raises(WrongSetting, match="VIGIE_MONGO_URI"):
        stores(settings(mongo_uri="http://127.0.0.1"))


def test_an_answer_is_kept_as_long_as_it_is_said_to_be_and_a_failure_is_not():
    clock = Hours()
    store = Store("MongoDB's count", "a:1", replying(GONE, 1, 2), keep_s=15, clock=clock)
    assert isinstance(store.answer(store.ask()), Down)
    assert store.answer(store.ask()) == 1
    clock.now = 14
    assert store.answer(store.ask()) == 1
    clock.now = 15
    put = store.ask()
    assert put.result(5) == 2
    assert store.answer(put) == 2


def test_a_kept_answer_is_given_while_a_slow_store_is_asked_anew_but_not_for_ever():
    clock, released = Hours(), threading.Event()
    answers = iter([lambda: 1, lambda: released.wait(10) and 2])
    store = Store("MongoDB's count", "a:1", lambda: next(answers)(), keep_s=15, clock=clock)  # noqa: PLW0108
    assert store.answer(store.ask()) == 1
    clock.now = 29
    put = store.ask()
    assert store.answer(put) == 1
    clock.now = 31
    assert isinstance(store.answer(put), Down)
    released.set()
    assert put.result(5) == 2
    assert store.answer(store.ask()) == 2


def test_a_desk_that_was_kept_waiting_gives_the_next_question_as_much_time():
    desk, release = Desk("MongoDB", "a:1", 0.3), threading.Event()

    def slow(seconds: float) -> str:
        release.wait(seconds)
        return "found"

    hung = desk.ask(lambda: slow(10))
    assert isinstance(hung, Down)
    assert hung.why == "it does not answer"
    release.set()
    assert desk.ask(lambda: slow(0)) == "found"
    release.clear()
    assert desk.ask(lambda: slow(0.1)) == "found"


def test_a_desk_tells_why_and_since_when_its_store_is_down():
    desk = Desk("Cassandra", "a:1", 5)

    def down() -> str:
        raise StoreDown("it cannot be read")

    first, second = desk.ask(down), desk.ask(down)
    assert first == second
    assert isinstance(first, Down)
    assert (first.store, first.address, first.why) == ("Cassandra", "a:1", "it cannot be read")
