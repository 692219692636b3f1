"""One user's journey, over a server that answers like Jaeger, or not; what MongoDB holds is given."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import jaeger, journey
from dashboard.jaeger import Span
from dashboard.stores import StoreDown
from spark.contract import FORGOTTEN_AT

USER, TRACE = "3f2b8a1c-90de-4c1b-8a77-0d5b5f3c2e19", "ab" * 16
BEGAN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def span(name: str, at_ms: int, took_ms: int, own: str, parent: str = "", **told: object) -> dict:
    began = int(BEGAN.timestamp() * 1e9) + at_ms * 1_000_000
    about = [{"key": key.replace("__", "."), "value": {"stringValue": str(value)}} for key, value in told.items()]
    return {
        "name": name,
        "spanId": own,
        "parentSpanId": parent,
        "startTimeUnixNano": str(began),
        "endTimeUnixNano": str(began + took_ms * 1_000_000),
        "attributes": about,
    }


def otlp(**services: list[dict]) -> bytes:
    resources = [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
            "scopeSpans": [{"spans": spans}],
        }
        for service, spans in services.items()
    ]
    return json.dumps({"result": {"resourceSpans": resources}}).encode()


def about(partition: int, offset: int) -> dict:
    return {"messaging__destination__partition__id": partition, "messaging__kafka__offset": offset}


WHOLE = otlp(
    ingest=[span("page", 0, 400, "a"), span("GET", 5, 300, "b", "a"), span("send users.raw", 400, 20, "c", "a")],
    spark=[
        span("process users.raw", 900, 800, "d", "c", **about(1, 7)),
        span("write mongodb", 1000, 300, "e", "d"),
        span("process users.raw", 900, 800, "f", "c", **about(1, 8)),
        span("write mongodb", 1000, 300, "g", "f"),
    ],
)


@pytest.fixture
def held(monkeypatch):
    """What MongoDB holds of the user."""
    document = {
        "_id": USER,
        "fetched_at": BEGAN,
        "appended_at": BEGAN + timedelta(milliseconds=420),
        "stored_at": BEGAN + timedelta(milliseconds=1300),
        "topic": {"partition": 1, "offset": 7},
        "trace_id": TRACE,
        "source": {"page": 3},
    }
    monkeypatch.setattr(journey, "held", lambda user: document if document.get("_id") == user else None)
    return document


@pytest.fixture
def card(answering, monkeypatch):
    answering.answers[f"/api/v3/traces/{TRACE}"] = (200, WHOLE)
    monkeypatch.setenv("VIGIE_JAEGER_URL", f"http://{answering.address}")

    def shown(user: str = USER) -> AppTest:
        made = AppTest.from_string(
            "import streamlit as st\nfrom dashboard import journey\njourney.show(st.session_state['user'])",
            default_timeout=20,
        )
        made.session_state["user"] = user
        made.run()
        assert not made.exception
        return made

    return shown


def test_a_sampled_user_has_a_waterfall_of_the_page_and_of_its_own_message(card, held):
    shown = card()
    assert [metric.value for metric in shown.metric] == ["420.0 ms", "880.0 ms", "1.30 s"]
    assert len(shown.get("vega_lite_chart")) == 1
    table = shown.dataframe[0].value
    assert list(table["span"]) == ["page", "GET", "send users.raw", "process users.raw", "write mongodb"]
    assert list(table["took"]) == ["400.0 ms", "300.0 ms", "20.0 ms", "800.0 ms", "300.0 ms"]
    assert f"/api/v3/traces/{TRACE}" in shown.caption[-1].value


def test_a_user_whose_page_alone_was_traced_is_told(card, held):
    held["topic"] = {"partition": 1, "offset": 99}
    shown = card()
    assert journey.ONLY_THE_PAGE in [caption.value for caption in shown.caption]
    assert list(shown.dataframe[0].value["span"]) == ["page", "GET", "send users.raw"]


def test_a_user_who_was_not_sampled_is_told(answering, card, held):
    answering.answers[f"/api/v3/traces/{TRACE}"] = (404, b"{}")
    assert card().info[0].value == journey.NOT_SAMPLED


def test_a_user_without_a_trace_is_told(card, held):
    held["trace_id"] = ""
    assert "No trace was made" in card().info[0].value


def test_with_jaeger_gone_the_hops_are_shown_all_the_same(nobody, card, held, monkeypatch):
    monkeypatch.setenv("VIGIE_JAEGER_URL", f"http://127.0.0.1:{nobody}")
    shown = card()
    assert shown.warning[0].value.startswith("**Jaeger**: it cannot be reached")
    assert shown.metric[2].value == "1.30 s"


@pytest.mark.parametrize(
    "body", [b"<html>", b'{"result": 7}', b"\xff", b'{"result": {"resourceSpans": [{"scopeSpans": 1}]}}']
)
def test_garbage_from_jaeger_is_told_in_words(answering, card, held, body):
    answering.answers[f"/api/v3/traces/{TRACE}"] = (200, body)
    assert "its answer is none that it should give" in card().warning[0].value


def test_a_jaeger_that_hangs_is_told_within_three_seconds_and_comes_back(answering, card, held):
    answering.release.clear()
    began = time.monotonic()
    shown = card()
    assert time.monotonic() - began < 3
    assert "it does not answer" in shown.warning[0].value
    answering.release.set()
    assert len(shown.run().get("vega_lite_chart")) == 1


def test_a_store_that_hangs_is_told_within_three_seconds(card, held, monkeypatch):
    monkeypatch.setattr(journey, "held", lambda user: time.sleep(4))
    began = time.monotonic()
    shown = card()
    assert time.monotonic() - began < 3
    assert shown.error[0].value.startswith("**MongoDB**: it does not answer")


def test_a_store_that_is_down_is_told(card, held, monkeypatch):
    def down(user):
        raise StoreDown("it cannot be read (AutoReconnect)")

    monkeypatch.setattr(journey, "held", down)
    assert "it cannot be read" in card().error[0].value


def test_a_store_that_cannot_be_reached_is_told_and_no_number_shown(card):
    shown = card()
    assert shown.error[0].value.startswith("**MongoDB**: ")
    assert not shown.metric


def test_nobody_and_the_forgotten_are_told(card, held):
    assert "no user's id" in card("<script>").info[0].value
    assert "does not hold this user" in card(USER.replace("3", "4")).info[0].value
    st.cache_data.clear()
    held[FORGOTTEN_AT] = BEGAN
    assert "forgotten" in card().info[0].value


def test_steps_of_one_name_are_told_apart():
    spans = [Span(BEGAN.timestamp() + n, 1, "ingest", "GET") for n in range(3)]
    assert journey.waterfall(spans, UTC)["line"].to_pylist() == ["ingest: GET", "ingest: GET #2", "ingest: GET #3"]


def test_spans_that_name_each_other_in_a_ring_have_an_end():
    ring = [Span(0, 1, "a", "b", span_id=one, parent_id=other) for one, other in (("x", "y"), ("y", "x"))]
    assert jaeger.of_message(ring, (1, 1)) == tuple(ring)
