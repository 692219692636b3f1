"""The admin port: what it takes, what it refuses, and that a refusal changes nothing."""

import http.client
from urllib.parse import urlsplit

import pytest
import requests

from services.simulator.faults import KINDS


def call(simulator, method, path, body=None, **headers):
    address = urlsplit(simulator.admin)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"Host": address.netloc, **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(body)
    response = connection.getresponse()
    answer = response.status, response.read().decode()
    connection.close()
    return answer


def test_faults_are_listed_replaced_and_cleared(simulator):
    assert simulator.faults() == {}
    assert simulator.put({"cut": {"times": 2}, "empty": {}}).status_code == 200
    assert simulator.faults() == {"cut": {"rate": 1.0, "times": 2}, "empty": {"rate": 1.0, "times": None}}
    assert list(simulator.put({"html": {}}).json()) == ["html"]
    assert simulator.put(simulator.faults()).status_code == 200  # what is listed can be put back
    assert requests.delete(f"{simulator.admin}/faults", timeout=10).json() == {}
    assert simulator.faults() == {}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('{"stotus": {}}', "stotus"),
        ('{"status": {}}', "code"),
        ('{"status": {"code": "500"}}', "status"),
        ('{"status": {"code": 200}}', "status"),
        ('{"status": {"code": 500, "tmes": 1}}', "tmes"),
        ('{"status": 500}', "status"),
        ('{"latency": {"seconds": -1}}', "latency"),
        ('{"latency": {"seconds": true}}', "latency"),
        ('{"trickle": {"bytes_per_second": 0}}', "trickle"),
        ('{"empty": {"rate": 1.5}}', "rate"),
        ('{"empty": {"times": 0}}', "times"),
        ('{"missing_field": {"path": ""}}', "missing_field"),
        ('{"missing_field": {"path": "a..b"}}', "missing_field"),
        ('{"missing_field": {"path": "a", "every": 0}}', "every"),
        ('{"set_field": {"path": "a"}}', "value"),
        ('{"html": {}, "stotus": {}}', "stotus"),
        ("[]", "JSON"),
        ("{", "JSON"),
        ("", "JSON"),
        ('{"set_field": {"path": "a", "value": ' + "[" * 5000 + "]" * 5000 + "}}", ""),
    ],
)
def test_a_wrong_fault_is_named_and_changes_nothing(simulator, body, named):
    simulator.put({"cut": {"rate": 0}})
    before = simulator.faults()
    response = requests.put(f"{simulator.admin}/faults", data=body, timeout=10)
    assert response.status_code == 400
    assert named in response.json()["error"]
    assert simulator.faults() == before


def test_a_wrong_name_is_answered_with_those_there_are(simulator):
    assert all(name in simulator.put({"nonsense": {}}).json()["error"] for name in KINDS)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(simulator):
    assert call(simulator, "PUT", "/faults", Content_Length=str(1 << 40))[0] == 413


@pytest.mark.parametrize("headers", [{}, {"Content_Length": "-1"}, {"Transfer_Encoding": "chunked"}])
def test_a_body_of_unknown_length_is_refused(simulator, headers):
    assert call(simulator, "PUT", "/faults", **headers)[0] == 411


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8091", "127.0.0.1.evil.example", ""])
@pytest.mark.parametrize(("method", "path"), [("GET", "/faults"), ("GET", "/journal"), ("DELETE", "/faults")])
def test_another_machines_name_is_refused(simulator, host, method, path):
    simulator.put({"cut": {"rate": 0}})
    assert call(simulator, method, path, Host=host)[0] == 403
    assert "cut" in simulator.faults()


def test_a_put_under_another_machines_name_changes_nothing(simulator):
    assert call(simulator, "PUT", "/faults", b'{"cut": {}}', Host="evil.example", Content_Length="11")[0] == 403
    assert simulator.faults() == {}


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1.evil.example:8091", "null", ""])
def test_a_page_of_another_site_is_refused(simulator, origin):
    assert call(simulator, "PUT", "/faults", b'{"cut": {}}', Origin=origin, Content_Length="11")[0] == 403
    assert call(simulator, "DELETE", "/faults", Origin=origin)[0] == 403
    assert call(simulator, "GET", "/health", Origin="http://localhost:3000")[0] == 200
    assert simulator.faults() == {}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9", "[::1]:9"])
def test_this_machines_own_names_are_welcome(simulator, host):
    assert call(simulator, "GET", "/health", Host=host) == (200, '{"status":"ok"}')


def test_what_is_not_there_is_not_found(simulator):
    assert [call(simulator, method, path, Content_Length="0")[0] for method, path in UNKNOWN] == [404] * len(UNKNOWN)


UNKNOWN = [("GET", "/"), ("GET", "/api/"), ("PUT", "/journal"), ("DELETE", "/journal")]


def test_the_api_port_switches_nothing(simulator):
    for method in ("PUT", "DELETE", "POST"):
        assert requests.request(method, simulator.api, data="{}", timeout=10).status_code == 501
