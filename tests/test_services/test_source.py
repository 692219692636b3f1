"""The client against a real simulator that fails in every way it knows: no failure gives a page, every one ends."""

import threading
import time

import pytest

from services.source import (
    Budget,
    Client,
    Cursor,
    SourceError,
    SourceRefused,
    SourceUnavailable,
    Timeouts,
    check_status,
)

CURSOR = Cursor("tests", 1, 20)
QUICK = Timeouts(1, 1, 2)


def client(url: str, timeouts: Timeouts = QUICK, attempts: int = 1) -> Client:
    made = Client(url, timeouts, Budget(10**9, 1), threading.Event())
    made.retrying = made.retrying.copy(stop=lambda state: state.attempt_number >= attempts)
    return made


def test_a_page_comes_as_it_was_asked_for(simulator):
    assert len(client(simulator.api).page(CURSOR)) == 20


@pytest.mark.parametrize(
    "fault",
    [
        {"status": {"code": 500}},
        {"status": {"code": 503, "text": "Service Unavailable"}},
        {"status": {"code": 404, "text": "Not Found"}},
        {"status": {"code": 429}},
        {"html": {"code": 502}},
        {"html": {"code": 200}},
        {"error_body": {}},
        {"empty": {}},
        {"repeat_page": {"honest": True}},
        {"truncated": {}},
        {"cut": {}},
        {"latency": {"seconds": 1.5}},
        {"trickle": {"bytes_per_second": 500}},
    ],
    ids=str,
)
def test_every_failure_ends_in_time_without_a_page_and_the_next_call_has_it(simulator, fault):
    cursor = Cursor("tests", 2, 20)
    simulator.put(fault)
    began = time.monotonic()
    with pytest.raises(SourceError):
        client(simulator.api).page(cursor)
    assert time.monotonic() - began < 4
    simulator.put({})
    assert len(client(simulator.api).page(cursor)) == 20


def test_a_failure_that_passes_is_not_seen(simulator):
    simulator.put({"status": {"code": 503, "times": 2}})
    assert len(client(simulator.api, attempts=4).page(CURSOR)) == 20


def test_retry_after_is_waited_for(simulator):
    simulator.put({"status": {"code": 429, "retry_after": 2, "times": 1}})
    began = time.monotonic()
    assert len(client(simulator.api, attempts=2).page(CURSOR)) == 20
    assert time.monotonic() - began >= 2


def test_a_name_that_does_not_resolve_is_said():
    with pytest.raises(SourceUnavailable, match=r"no-such-host\.invalid"):
        client("http://no-such-host.invalid/api/").page(CURSOR)


def test_after_five_failures_the_breaker_spares_the_source_and_closes_by_itself(simulator):
    fetcher = client(simulator.api, attempts=1)
    fetcher.breaker.reset_timeout = 0.5
    simulator.put({"status": {"code": 500}})
    for _ in range(5):
        with pytest.raises(SourceError):
            fetcher.page(CURSOR)
    before = simulator.journal()["requests"]
    with pytest.raises(SourceRefused, match="breaker"):
        fetcher.page(CURSOR)
    assert simulator.journal()["requests"] == before
    simulator.put({})
    time.sleep(0.6)  # the breaker's own time
    assert len(fetcher.page(CURSOR)) == 20


def test_stopping_ends_the_waiting_at_once(simulator):
    simulator.put({"status": {"code": 429, "retry_after": 60}})
    stopping = threading.Event()
    fetcher = Client(simulator.api, QUICK, Budget(10**9, 1), stopping)
    threading.Timer(0.3, stopping.set).start()
    began = time.monotonic()
    with pytest.raises(SourceError):
        fetcher.page(CURSOR)
    assert time.monotonic() - began < 3


def test_the_budget_lets_no_window_have_more_than_its_users():
    now = [1000.0]
    budget = Budget(100, 60, [(990.0, 30)], clock=lambda: now[0])
    waits = []
    for _ in range(4):
        waits.append(budget.wait_s(40))
        now[0] += waits[-1]
        budget.spend(40)
    assert waits == [0, 50, 10, 50]


@pytest.mark.parametrize(
    ("status", "retry_after", "error", "seconds"),
    [
        (429, None, SourceUnavailable, None),
        (429, "7", SourceUnavailable, 7),
        (503, "86400", SourceUnavailable, 300),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", SourceUnavailable, None),
        (400, None, SourceRefused, None),
        (301, None, SourceRefused, None),
    ],
)
def test_a_status_says_whether_to_ask_again(status, retry_after, error, seconds):
    with pytest.raises(error) as raised:
        check_status(status, retry_after)
    assert getattr(raised.value, "retry_after", None) == seconds
