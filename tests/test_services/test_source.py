"""The client against a real simulator that fails in every way it knows: no failure gives a page, every one ends."""

import socket
import threading
import time

import pytest

from observability import metrics, names
from services.source import (
    OUTCOMES,
    UNLIMITED,
    Budget,
    Client,
    Cursor,
    SourceError,
    SourceLimited,
    SourceRefused,
    SourceUnavailable,
    Timeouts,
    check_status,
    of_source,
)

CURSOR = Cursor("tests", 1, 20)
QUICK = Timeouts(1, 1, 2)


def client(url: str, timeouts: Timeouts = QUICK, attempts: int = 1) -> Client:
    made = Client(url, timeouts, Budget(10**9, 1), threading.Event())
    made.retrying = made.retrying.copy(stop=lambda state: state.attempt_number >= attempts)
    return made


def counted() -> dict[str, float]:
    """The calls so far, by their outcome."""
    found = {one: metrics.REGISTRY.get_sample_value(names.SOURCE_CALLS.name, {"outcome": one}) for one in OUTCOMES}
    return {one: n or 0.0 for one, n in found.items()}


def more(before: dict[str, float]) -> dict[str, float]:
    return {one: n - before[one] for one, n in counted().items() if n != before[one]}


def state(fetcher: Client) -> dict[str, float]:
    return {labels["state"]: n for metric, labels, n in of_source(fetcher) if metric is names.SOURCE_BREAKER}


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
    assert state(fetcher) == {"closed": 1, "half_open": 0, "open": 0}
    began = counted()
    simulator.put({"status": {"code": 500}})
    for _ in range(5):
        with pytest.raises(SourceError):
            fetcher.page(CURSOR)
    before = simulator.journal()["requests"]
    with pytest.raises(SourceRefused, match="breaker"):
        fetcher.page(CURSOR)
    assert simulator.journal()["requests"] == before
    assert state(fetcher) == {"closed": 0, "half_open": 0, "open": 1}
    assert more(began) == {"unavailable": 5, "breaker_open": 1}
    simulator.put({})
    time.sleep(0.6)  # the breaker's own time
    assert len(fetcher.page(CURSOR)) == 20
    assert state(fetcher) == {"closed": 1, "half_open": 0, "open": 0}


def test_every_call_is_counted_once_by_its_end_and_timed(simulator):
    before = counted()
    timed = metrics.REGISTRY.get_sample_value(f"{names.SOURCE_CALL_SECONDS.name}_count") or 0
    simulator.put({"status": {"code": 429, "times": 1}})
    client(simulator.api, attempts=2).page(CURSOR)
    for fault in ({"status": {"code": 404}}, {"html": {"code": 200}}):
        simulator.put(fault)
        with pytest.raises(SourceError):
            client(simulator.api).page(CURSOR)
    assert more(before) == {"limited": 1, "ok": 1, "refused": 1, "unavailable": 1}
    assert metrics.REGISTRY.get_sample_value(f"{names.SOURCE_CALL_SECONDS.name}_count") == timed + 4


def test_an_errors_text_does_not_hold_the_query():
    with pytest.raises(SourceUnavailable) as raised:
        client("http://127.0.0.1:1/api/").page(Cursor("secret-seed", 1, 20))
    assert "127.0.0.1" in str(raised.value)
    assert "secret-seed" not in str(raised.value)
    assert str(raised.value).endswith("NewConnectionError: ConnectionRefusedError (Connection refused)")


def test_what_a_source_sends_instead_of_a_status_is_told_to_nobody(caplog):
    body = b'{"results":[{"email":"anna.smith@example.com"}]}' + bytes([13, 10]) * 2
    with socket.create_server(("127.0.0.1", 0)) as server:

        def say() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(body)

        talking = threading.Thread(target=say, daemon=True)
        talking.start()
        with pytest.raises(SourceUnavailable) as raised:
            client(f"http://127.0.0.1:{server.getsockname()[1]}/api/").page(CURSOR)
        talking.join(10)
    assert "BadStatusLine" in str(raised.value)
    assert "anna" not in str(raised.value) + caplog.text


def test_what_is_left_of_the_budget_is_told_unless_there_is_none():
    stopping = threading.Event()
    now = [1000.0]
    spent = Client("http://x/", QUICK, Budget(100, 60, [(930.0, 50), (990.0, 30)], clock=lambda: now[0]), stopping)
    endless = Client("http://x/", QUICK, Budget(UNLIMITED, 60), stopping)
    left = [[n for metric, _, n in of_source(one) if metric is names.SOURCE_BUDGET] for one in (spent, endless)]
    assert left == [[70], []]


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


def test_a_clock_that_was_ahead_and_is_put_back_holds_the_budget_for_one_window_at_most():
    now = [4600.0]
    budget = Budget(100, 60, [], clock=lambda: now[0])
    budget.spend(80)
    now[0] = 1000.0
    assert budget.wait_s(40) == 60
    assert budget.left() == 20
    now[0] += 60
    assert budget.wait_s(40) == 0


@pytest.mark.parametrize(
    ("status", "retry_after", "error", "seconds"),
    [
        (429, None, SourceLimited, None),
        (429, "7", SourceLimited, 7),
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
