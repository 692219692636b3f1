"""Every fault, over a real socket."""

import http.client
import socket
import time
from urllib.parse import urlsplit

import msgspec
import pytest
import requests

from services.simulator import damage
from services.simulator.faults import KINDS, Board, Status

PAGE = "seed=vigie&page=2&results=10"
OPTIONS = {  # of the faults that cannot do without
    "latency": {"seconds": 0},
    "status": {"code": 500},
    "missing_field": {"path": "nat"},
    "wrong_type": {"path": "nat"},
    "set_field": {"path": "nat", "value": 1},
    "trickle": {"bytes_per_second": 10**6},
}


def decoded(response):
    return response.json()["results"]


def received(simulator, query):
    """The raw bytes of a reply up to the end of the connection, and the pieces that they came in."""
    address = urlsplit(simulator.api)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(f"GET /api/?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        pieces = []
        while piece := connection.recv(1 << 16):
            pieces.append(piece)
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    return head.decode(), body, pieces


@pytest.mark.parametrize(
    ("options", "code", "text", "retry_after"),
    [
        ({"code": 500}, 500, "Internal Server Error", None),
        ({"code": 503, "retry_after": 7}, 503, "Service Unavailable", "7"),
        ({"code": 404}, 404, "Not Found", None),
        ({"code": 429, "text": "slow down", "retry_after": 0}, 429, "slow down", "0"),
        ({"code": 599}, 599, "599", None),
    ],
)
def test_status_answers_with_its_code_and_a_text(simulator, options, code, text, retry_after):
    simulator.put({"status": options})
    response = simulator.get(PAGE)
    assert (response.status_code, response.text, response.headers.get("Retry-After")) == (code, text, retry_after)
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_latency_makes_the_answer_late(simulator):
    simulator.put({"latency": {"seconds": 0.3}})
    start = time.monotonic()
    assert len(decoded(simulator.get(PAGE))) == 10
    assert time.monotonic() - start >= 0.3


def test_trickle_sends_the_body_piece_by_piece(simulator):
    whole = simulator.get(f"{PAGE}&inc=nat").content
    simulator.put({"trickle": {"bytes_per_second": len(whole) * 3}})
    start = time.monotonic()
    _, body, pieces = received(simulator, f"{PAGE}&inc=nat")
    assert body == whole
    assert time.monotonic() - start >= 0.3
    assert len(pieces) >= 5


def test_trickle_can_go_byte_by_byte(simulator):
    simulator.put({"trickle": {"bytes_per_second": 1}, "status": {"code": 500, "text": "x"}})
    start = time.monotonic()
    _, body, _ = received(simulator, PAGE)
    assert body == b"x"
    assert time.monotonic() - start >= 1


def test_a_client_that_leaves_a_trickle_harms_no_other(simulator):
    simulator.put({"trickle": {"bytes_per_second": 1000, "times": 1}})
    requests.get(f"{simulator.api}?results=1&seed=a", timeout=10, stream=True).close()
    assert len(decoded(simulator.get(PAGE))) == 10


def test_cut_promises_the_whole_body_and_closes_after_half(simulator):
    whole = simulator.get(PAGE).content
    simulator.put({"cut": {}})
    head, body, _ = received(simulator, PAGE)
    assert f"Content-Length: {len(whole)}" in head
    assert body == whole[: len(whole) // 2]


def test_cut_is_an_incomplete_read_to_a_client_that_keeps_its_connection(simulator):
    simulator.put({"cut": {}})
    address = urlsplit(simulator.api)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    connection.request("GET", f"/api/?{PAGE}")
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()


def test_truncated_is_a_whole_reply_of_half_the_json(simulator):
    whole = simulator.get(PAGE).content
    simulator.put({"truncated": {}})
    response = simulator.get(PAGE)
    assert response.status_code == 200
    assert response.headers["Content-Length"] == str(len(response.content))
    assert response.content == whole[: len(whole) // 2]
    with pytest.raises(ValueError):
        response.json()


@pytest.mark.parametrize(("options", "code"), [({}, 502), ({"code": 200}, 200)])
def test_html_answers_like_a_proxy(simulator, options, code):
    simulator.put({"html": options})
    response = simulator.get(PAGE)
    assert (response.status_code, response.headers["Content-Type"]) == (code, "text/html; charset=utf-8")
    assert response.text.startswith("<html>")


def test_error_body_is_the_apis_outage_with_a_status_of_success(simulator):
    simulator.put({"error_body": {}})
    response = simulator.get(PAGE)
    assert response.status_code == 200
    assert list(response.json()) == ["error"]
    assert response.json()["error"].startswith("Uh oh, something has gone wrong")


def test_empty_has_no_users_and_claims_them(simulator):
    simulator.put({"empty": {}})
    assert simulator.get(PAGE).json() == {
        "results": [],
        "info": {"seed": "vigie", "results": 10, "page": 2, "version": "1.4"},
    }


def test_missing_field_takes_it_from_the_first_user_or_from_every_third(simulator):
    simulator.put({"missing_field": {"path": "dob.age"}})
    assert [index for index, user in enumerate(decoded(simulator.get(PAGE))) if "age" not in user["dob"]] == [0]
    simulator.put({"missing_field": {"path": "login.uuid", "every": 3}})
    users = decoded(simulator.get(PAGE))
    assert [index for index, user in enumerate(users) if "uuid" not in user["login"]] == [0, 3, 6, 9]
    simulator.put({"missing_field": {"path": "no.such.field"}})
    clean = decoded(simulator.get(PAGE))
    simulator.put({})
    assert clean == decoded(simulator.get(PAGE))


@pytest.mark.parametrize("path", ["dob.age", "location.postcode", "name.first", "id.value", "location"])
def test_wrong_type_wraps_the_value_in_a_list(simulator, path):
    clean = decoded(simulator.get(PAGE))
    simulator.put({"wrong_type": {"path": path, "every": 5}})
    spoilt = decoded(simulator.get(PAGE))
    assert [index for index in range(10) if spoilt[index] != clean[index]] == [0, 5]
    assert at(spoilt[5], path) == [at(clean[5], path)]


def at(user, path):
    for key in path.split("."):
        user = user[key]
    return user


def test_set_field_changes_a_value_and_adds_a_new_one(simulator):
    simulator.put({"set_field": {"path": "name.first", "value": "x" * 2_000_000, "times": 1}})
    assert [len(user["name"]["first"]) > 1_000_000 for user in decoded(simulator.get(PAGE))] == [True] + [False] * 9
    simulator.put({"set_field": {"path": "extra.deep", "value": {"list": [1, None]}, "every": 1}})
    assert [user["extra"] for user in decoded(simulator.get(PAGE))] == [{"deep": {"list": [1, None]}}] * 10


def test_repeat_page_gives_the_users_of_the_page_before(simulator):
    first = decoded(simulator.get("seed=vigie&page=1&results=10"))
    for honest, claimed in ((False, 2), (True, 1)):
        simulator.put({"repeat_page": {"honest": honest}})
        reply = simulator.get(PAGE).json()
        assert (reply["results"], reply["info"]["page"]) == (first, claimed)
    assert list(simulator.get(f"{PAGE}&noinfo").json()) == ["results"]


def test_invalid_utf8_puts_raw_bytes_into_one_name(simulator):
    simulator.put({"invalid_utf8": {"every": 6}})
    body = simulator.get(PAGE).content
    assert body.count(damage.INVALID) == 2
    with pytest.raises(UnicodeDecodeError):
        body.decode()
    assert len(msgspec.json.decode(body.replace(damage.INVALID, b"x"))["results"]) == 10


def test_a_fault_strikes_as_often_as_it_was_told_and_then_goes(simulator):
    simulator.put({"status": {"code": 503, "times": 2}, "empty": {"times": 1}})
    assert [simulator.get(PAGE).status_code for _ in range(2)] == [503, 503]
    assert simulator.faults() == {"empty": {"rate": 1.0, "times": 1}}
    assert [len(decoded(simulator.get(PAGE))) for _ in range(2)] == [0, 10]
    assert simulator.faults() == {}


def test_a_rate_of_zero_never_strikes_and_costs_no_times(simulator):
    simulator.put({"status": {"code": 500, "rate": 0, "times": 1}})
    assert {simulator.get(PAGE).status_code for _ in range(20)} == {200}
    assert simulator.faults()["status"]["times"] == 1


def test_a_rate_strikes_about_so_often():
    board = Board()
    board.replace([Status(code=500, rate=0.3)])
    struck = sum(board.strike(Status) is not None for _ in range(10_000))
    assert 2500 < struck < 3500
    assert board.struck() == {"status": struck}


def test_faults_of_the_page_join(simulator):
    simulator.put(
        {"missing_field": {"path": "email"}, "set_field": {"path": "nat", "value": 7}, "latency": {"seconds": 0}}
    )
    (user,) = decoded(simulator.get("seed=vigie"))
    assert ("email" in user, user["nat"]) == (False, 7)


def test_the_journal_counts_every_strike_and_no_spoilt_reply_as_served(start):
    fresh = start()
    for name in KINDS:
        fresh.put({name: {**OPTIONS.get(name, {}), "times": 1}})
        received(fresh, PAGE)
    journal = fresh.journal()
    assert journal["faults"] == dict.fromkeys(KINDS, 1)
    assert journal["requests"] == len(KINDS)
    unserved = {"status", "html", "error_body", "truncated", "cut", "empty"}
    assert journal["users_served"] == 10 * (len(KINDS) - len(unserved))


def test_the_journal_knows_the_highest_page_of_a_seed(simulator):
    for page in (4, 9, 2):
        simulator.get(f"seed=high&page={page}&results=3")
    simulator.get("seed=high&page=1&results=5")
    simulator.put({"cut": {}})
    received(simulator, "seed=high&page=77&results=3")
    pages = [page for page in simulator.journal()["pages"] if page["seed"] == "high"]
    assert pages == [{"seed": "high", "results": 3, "page": 9}, {"seed": "high", "results": 5, "page": 1}]
