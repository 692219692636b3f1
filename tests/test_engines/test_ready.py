"""What `make up` asks cheaply before it asks the stores."""

import pytest
from prometheus_client import CollectorRegistry, Counter, start_http_server

from engines import ready
from observability import names

HOST = "127.0.0.1"


@pytest.fixture
def batches(free_ports):
    """The lanes' counter as they have it, and the port on which it is told."""
    registry = CollectorRegistry()
    counter = Counter(names.LANE_BATCHES.name, "batches", ["lane"], registry=registry)
    (port,) = free_ports(1)
    server, thread = start_http_server(port, HOST, registry)
    yield counter, port
    server.shutdown()
    thread.join(5)


def test_both_lanes_must_have_had_a_batch(batches):
    counter, port = batches
    assert not ready.lanes(HOST, port)
    counter.labels("raw").inc()
    counter.labels("stats")
    assert not ready.lanes(HOST, port)
    counter.labels("stats").inc()
    assert ready.lanes(HOST, port)


def test_lanes_that_do_not_answer_have_had_none(free_ports):
    assert not ready.lanes(HOST, free_ports(1)[0])
