"""The process: how it starts, refuses to start, and ends; and what its limit and its journal remember."""

import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from urllib.parse import urlsplit

import pytest
import requests

from observability import names
from services.simulator.ledger import Journal, Limit
from services.simulator.people import ids, users


def test_sigterm_ends_it_at_once_even_in_the_middle_of_a_reply(start):
    running = start()
    running.put({"trickle": {"bytes_per_second": 10}})
    address = urlsplit(running.api)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(b"GET /api/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        assert running.stop() == 0
    assert running.process.stderr.read() == ""


@pytest.mark.parametrize("setting", ["VIGIE_SIMULATOR_PORT", "VIGIE_SIMULATOR_ADMIN_PORT"])
def test_a_port_in_use_is_named_with_its_setting_on_one_line(launch, setting):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = launch(**{setting: str(port)})
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors == f"{setting}={port}: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("VIGIE_SIMULATOR_PORT", "99999"),
        ("VIGIE_SIMULATOR_LIMIT_USERS", "-1"),
        ("VIGIE_SIMULATOR_LIMIT_WINDOW_S", "0"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(launch, setting, value):
    process = launch(**{setting: value})
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors.count("\n")) == (1, 1)
    assert errors.startswith(f"{setting}='{value}'")


def test_help_tells_the_addresses_and_the_faults(launch):
    process = launch("--help")
    text, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert all(word in text for word in ("/api/?seed=", "PUT /faults", "invalid_utf8", "VIGIE_SIMULATOR_LIMIT_USERS"))


def test_nothing_is_logged_for_a_request(start):
    running = start()
    for query in ("", "results=abc", "format=csv"):
        running.get(query)
    requests.get(f"{running.api}nonsense", timeout=10)
    running.stop()
    assert running.process.stderr.read() == ""


def test_what_was_served_is_in_the_metrics_by_the_names_written_down(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    running = start(VIGIE_SIMULATOR_METRICS_PORT=str(port))
    running.get("results=30")
    running.put({"status": {"code": 503, "times": 1}, "cut": {}})
    running.get()
    requests.get(f"{running.api}nonsense", timeout=10)
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    shown = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[0] != "#"}
    assert shown[names.SIMULATOR_USERS.name] == 30
    assert shown[names.SIMULATOR_FAULTS.name] == 1  # the other has struck as often as it may
    requested = {status: shown[f'{names.SIMULATOR_REQUESTS.name}{{status="{status}"}}'] for status in (200, 503, 404)}
    assert requested == {200: 1, 503: 1, 404: 1}


def test_the_ids_of_a_page_are_known_without_asking_for_it(simulator):
    reply = simulator.get("seed=audit&page=12&results=50&nat=fr,ua").json()
    assert [user["login"]["uuid"] for user in reply["results"]] == ids("audit", 12, 50, ("FR", "UA"))


def test_what_is_served_is_what_the_function_makes(simulator):
    served = simulator.get("seed=audit&page=2&results=100&exc=dob,registered").json()["results"]
    made = users("audit", 2, 100, today=date(2026, 1, 1))
    assert served == [{key: user[key] for key in user if key not in ("dob", "registered")} for user in made]


def test_one_connection_serves_many_requests(simulator):
    with requests.Session() as session:
        for page in range(1, 6):
            assert session.get(f"{simulator.api}?page={page}&seed=a", timeout=10).json()["info"]["page"] == page
        ports = len(session.get_adapter(simulator.api).poolmanager.pools)
    assert ports == 1


def test_many_clients_at_once_all_get_their_own_page(simulator):
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda page: simulator.get(f"seed=many&page={page}&results=50").json(), range(1, 33)))
    for page, reply in enumerate(replies, 1):
        assert [user["login"]["uuid"] for user in reply["results"]] == ids("many", page, 50)


def test_the_limit_counts_users_for_each_client_in_fixed_windows():
    now = [100.0]
    limit = Limit(100, 10, lambda: now[0])
    assert [limit.take("a", 60), limit.take("a", 60), limit.take("a", 1)] == [None, None, 120]
    assert limit.take("b", 1) is None
    now[0] = 109.9
    assert limit.take("a", 1) == 120
    now[0] = 135.0  # windows start at 110, 120 and 130, whenever anyone asks
    assert limit.take("a", 100) is None
    now[0] = 139.9
    assert limit.take("a", 1) == 100
    now[0] = 140.0
    assert limit.take("a", 1) is None


def test_a_limit_of_no_users_is_no_limit():
    limit = Limit(0, 10, lambda: 0.0)
    assert [limit.take("a", 10**9) for _ in range(3)] == [None] * 3


def test_the_journal_forgets_the_seed_that_was_served_longest_ago():
    journal = Journal()
    for number in range(1000):
        journal.served(f"s{number}", 10, 1, 10)
    journal.served("s0", 10, 2, 10)
    journal.served("new", 10, 1, 10)
    pages = {page["seed"]: page["page"] for page in journal.as_object()["pages"]}
    assert len(pages) == 1000
    assert "s1" not in pages
    assert (pages["s0"], pages["new"]) == (2, 1)
    assert journal.as_object()["users_served"] == 10_020
