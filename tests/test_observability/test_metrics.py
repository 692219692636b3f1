"""Metrics: names that say their unit, a page that Prometheus reads, values that are read at the scrape."""

import re
import socket

import requests
from prometheus_client import generate_latest

from observability import metrics, names, telemetry
from observability.names import COUNTER, HISTOGRAM, METRICS, Metric
from observability.settings import ROOT, environ

UNIT = re.compile(r"_(seconds|bytes|users|rows|batches|records|per_second|info|offset|state)$")
UNITLESS = {
    "vigie_lane_up",
    "vigie_source_paused",
    "vigie_source_done",
    "vigie_kafka_brokers",
    "vigie_kafka_brokers_expected",
    "vigie_kafka_partitions",
    "vigie_audit_count",
    "vigie_audit_silent",
    "vigie_page_viewers",
    "vigie_simulator_faults",
}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_every_name_begins_with_vigie_and_ends_with_its_unit():
    for one in METRICS:
        assert re.fullmatch(r"vigie_[a-z_]+", one.name)
        assert one.name.endswith("_total") == (one.kind == COUNTER), one.name
        assert one.kind == COUNTER or UNIT.search(one.name) or one.name in UNITLESS, one.name
        assert bool(one.buckets) == (one.kind == HISTOGRAM), one.name


def test_no_name_is_given_twice():
    assert len({one.name for one in METRICS}) == len(METRICS)


def test_what_is_read_at_the_scrape_is_left_out_when_it_cannot_be_read():
    metric = Metric("vigie_test_read", "gauge", "only in this test", {"lane": "raw"})
    state = {"value": 3.0}
    metrics.read_at_scrape(lambda: [(metric, {"lane": "raw"}, state["value"])])
    assert b'vigie_test_read{lane="raw"} 3.0' in generate_latest(metrics.REGISTRY)
    state.clear()
    assert b"vigie_test_read{" not in generate_latest(metrics.REGISTRY)


def test_prometheus_is_served_openmetrics_with_exemplars_and_what_runs_here():
    port = free_port()
    env = environ({}) | {"VIGIE_INGEST_METRICS_PORT": str(port), "VIGIE_OTLP_ENDPOINT": "off"}
    telemetry.start("ingest", env)
    metrics.histogram(names.PUBLISH_SECONDS).observe(0.2, {"trace_id": "0af7651916cd43dd8448eb211c80319c"})
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    said = requests.get(f"http://127.0.0.1:{port}/metrics", headers=accept, timeout=5).text
    assert 'vigie_build_info{service="ingest",settings="' in said
    assert '# {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.2' in said
    assert "process_resident_memory_bytes" in said


def test_a_port_that_is_taken_is_told_and_stops_nothing(caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        metrics.serve("ingest", "127.0.0.1", taken.getsockname()[1], {})
    assert "the port cannot be opened" in caplog.text


def test_the_settings_hash_differs_when_a_setting_does():
    env = environ({})
    assert metrics.settings_hash(env) == metrics.settings_hash(dict(env) | {"HOME": "/elsewhere"})
    assert metrics.settings_hash(env) != metrics.settings_hash(env | {"VIGIE_RATE": "51"})


def test_the_telemetry_page_is_current():
    assert (ROOT / "docs" / "telemetry.md").read_text() == telemetry.document(), "python -m observability.telemetry"


def test_every_attribute_of_a_span_is_described():
    used = {attribute for span in names.SPANS_NAMED for attribute in span.attributes}
    assert used == set(names.ATTRIBUTES)
