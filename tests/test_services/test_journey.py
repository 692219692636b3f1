"""A user's way as lines: what came after what, what is not known, and what a trace says."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from kafka import TopicPartition

from services import journey
from services.journey import Found, Step
from services.spans import Span, of_message, spans

USER = "3f2b8a1c-90de-4c1b-8a77-0d5b5f3c2e19"
JAEGER = "http://127.0.0.1:16686"
TRACE = "0af7651916cd43dd8448eb211c80319c"
AT = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def lines(found: Found, shown: list[Span] | None = None, why_none: str = "") -> list[str]:
    return list(journey.text(found, shown or [], why_none, JAEGER))


def test_hops_are_in_the_order_of_time_with_the_time_since_the_one_before():
    steps = [
        Step(after(0), "fetched", "page 3"),
        Step(after(1.5), "stored", "MongoDB"),
        Step(None, "summed", "12:00"),
        Step(after(0.25), "topic", "users.raw 1:7"),
    ]
    assert lines(Found(USER, steps)) == [
        f"user {USER}",
        "  2026-11-24 12:00:00.000               fetched     page 3",
        "  2026-11-24 12:00:00.250     +0.250 s  topic       users.raw 1:7",
        "  2026-11-24 12:00:01.500     +1.250 s  stored      MongoDB",
        "                                        summed      12:00",
        "no trace: none was made for the page it came with",
    ]


def test_a_trace_is_named_by_the_address_that_answers_and_its_spans_are_in_order():
    shown = [
        Span(after(0), timedelta(seconds=1), "ingest", "page"),
        Span(after(2), timedelta(milliseconds=4), "spark", "write users", "NotStored"),
    ]
    told = lines(Found(USER, [Step(AT, "fetched", "")], trace_id=TRACE), shown)
    assert told[2:] == [
        f"trace {JAEGER}/api/v3/traces/{TRACE}",
        "  2026-11-24 12:00:00.000     +0.000 s    1,000.0 ms  ingest    page",
        "  2026-11-24 12:00:02.000     +2.000 s        4.0 ms  spark     write users  failed: NotStored",
    ]


def test_a_trace_that_jaeger_does_not_have_is_said_plainly():
    told = lines(Found(USER, [], trace_id=TRACE), [], "Jaeger does not have it: not sampled")
    assert told[-1] == "  Jaeger does not have it: not sampled"


def test_a_hop_that_could_not_be_asked_is_named():
    assert "  MongoDB could not be asked: gone" in lines(Found(USER, [], ["MongoDB could not be asked: gone"]))


def test_a_canary_is_called_so():
    assert lines(Found(USER, [], canary=True))[0] == f"canary {USER}"


def otlp(name: str, began_ns: int, ended_ns: int, status: object = None, **attributes: object) -> dict[str, object]:
    return {
        "name": name,
        "startTimeUnixNano": str(began_ns),
        "endTimeUnixNano": str(ended_ns),
        "attributes": [{"key": key, "value": value} for key, value in attributes.items()],
        **({"status": {"code": status}} if status else {}),
    }


def answer(*found: dict[str, object], service: str = "ingest") -> dict[str, object]:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return {"result": {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(found)}]}]}}


def test_jaegers_answer_is_read_in_one_piece_and_in_several():
    place = {
        "messaging.kafka.offset": {"intValue": "7"},
        "messaging.destination.partition.id": {"stringValue": "1"},
    }
    first = answer(otlp("send", 2_000_000_000, 2_500_000_000, **place), otlp("page", 1_000_000_000, 3_000_000_000))
    second = answer(otlp("write", 4_000_000_000, 4_001_000_000, 2), service="spark")
    for body in (json.dumps(first) + "\n" + json.dumps(second), json.dumps(first, indent=1)):
        found = spans(body.encode())
        assert [(one.service, one.name) for one in found[:2]] == [("ingest", "page"), ("ingest", "send")]
        assert (found[0].took, found[1].place) == (timedelta(seconds=2), (1, 7))
    assert spans((json.dumps(first) + "\n" + json.dumps(second)).encode())[-1].failed == "error"


def test_spans_about_another_message_of_the_page_are_left_out():
    page, own, other = (Span(AT, timedelta(), "spark", "x", place=place) for place in (None, (1, 7), (1, 8)))
    found = Found(USER, place=TopicPartition("users.raw", 1), offset=7)
    assert of_message([page, own, other], found.message) == [page, own]
    assert of_message([page, own, other], Found(USER).message) == [page, own, other]


def test_what_is_below_a_span_about_another_message_is_left_out_with_it():
    own = Span(AT, timedelta(), "spark", "process", place=(1, 7), span_id="a", parent_id="page")
    other = Span(AT, timedelta(), "spark", "process", place=(1, 8), span_id="b", parent_id="page")
    writes = [Span(AT, timedelta(), "spark", "write", span_id=f"w{one}", parent_id=one) for one in ("a", "b")]
    found = Found(USER, place=TopicPartition("users.raw", 1), offset=7)
    assert of_message([own, other, *writes], found.message) == [own, writes[0]]


@pytest.mark.parametrize("wrong", ["", "root", USER[:-1], USER + "0", "../etc/passwd"])
def test_what_is_no_id_is_refused_with_a_sentence(wrong, capsys):
    assert journey.main([wrong]) == 2
    assert "is no user's id" in capsys.readouterr().err
