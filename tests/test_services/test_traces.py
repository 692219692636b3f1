"""What a page's trace says, what a message carries of it, and that neither names a person or a query."""

import threading
from datetime import date
from itertools import pairwise

import pytest

from observability import access, names, settings, tracing
from services.contract import DEAD_LETTERS, USERS
from services.ingest import Fetcher, Settings, is_journey
from services.outbox import Acknowledged, Outbox, Row
from services.publisher import Publisher, by_topic, contexts, step
from services.simulator.people import ids, users
from services.source import Budget, Client, Cursor, Timeouts

FIRST, SECOND = Cursor("tests", 1, 20), Cursor("tests", 2, 20)
NAMES = {one.name: one for one in names.SPANS_NAMED}


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "outbox.sqlite")


@pytest.fixture
def fetcher(tmp_path, simulator, outbox):
    """A fetcher of pages of 20 users, of whom the given share is traced all the way."""

    def of(share: float, at_most: float = 1000) -> Fetcher:
        changed = {"VIGIE_TRACE_SHARE": str(share), "VIGIE_TRACE_MAX_PER_S": str(at_most)}
        env = settings.environ({"VIGIE_STATE": str(tmp_path), **changed})
        client = Client(simulator.api + "?key=a-secret", Timeouts(1, 1, 2), Budget(10**9, 1), threading.Event())
        client.retrying = client.retrying.copy(stop=lambda state: state.attempt_number >= 2)
        return Fetcher(settings.read(Settings, env), outbox, client, threading.Event())

    return of


def by_name(spans):
    found = {}
    for span in spans.get_finished_spans():
        found.setdefault(span.name, []).append(span)
    return found


def headers(outbox, row):
    return dict(Publisher(outbox, access.Kafka(kafka_bootstrap="nobody:1"), threading.Event())._headers(row))


def test_a_page_is_one_trace_and_two_pages_are_two(fetcher, spans, outbox):
    pages = fetcher(0)
    assert [pages._page(cursor) for cursor in (FIRST, SECOND)] == [True, True]
    found = by_name(spans)
    assert {name: len(some) for name, some in found.items()} == {"page": 2, "GET": 2, "keep": 2}
    assert len({page.context.trace_id for page in found["page"]}) == 2
    for page, call, keep in zip(found["page"], found["GET"], found["keep"], strict=True):
        assert (page.parent, call.parent, keep.parent) == (None, page.context, page.context)
        assert call.attributes["http.response.status_code"] == 200
        assert keep.attributes["db.operation.batch.size"] == 20
        assert {name: page.attributes[f"vigie.{name}"] for name in ("users", "known", "rejected")} == {
            "users": 20,
            "known": 0,
            "rejected": 0,
        }
    rows = outbox.waiting(0, 99)
    traces = [tracing.traceparent(page.context) for page in found["page"]]
    assert [row.trace for row in rows] == [trace for trace in traces for _ in range(20)]


def test_an_ordinary_users_message_has_the_pages_traceparent_and_a_journeys_a_tracestate_too(fetcher, spans, outbox):
    fetcher(0.3)._page(FIRST)
    rows = outbox.waiting(0, 99)
    journeys = [i for i in ids("tests", 1, 20) if is_journey(i, 0.3)]
    assert 0 < len(journeys) < 20
    assert [row.key.decode() for row in rows if row.journey] == journeys
    (page,) = by_name(spans)["page"]
    assert page.attributes["vigie.journey"] == "true"
    for row in rows:
        expected = {"vigie.row": f"{outbox.id}:{row.seq}".encode(), "traceparent": row.trace.encode()}
        assert headers(outbox, row) == expected | ({"tracestate": b"vigie=journey"} if row.journey else {})


def test_however_many_come_no_more_are_traced_than_the_settings_let(fetcher, spans, outbox):
    pages = fetcher(1, at_most=2.1)  # 21 in any ten seconds
    assert [pages._page(Cursor("tests", page, 20)) for page in (1, 2, 3)] == [True] * 3
    assert [row.journey for row in outbox.waiting(0, 99)] == [True] * 21 + [False] * 39
    assert [page.attributes.get("vigie.journey") for page in by_name(spans)["page"]] == ["true", "true", None]


def test_a_dead_letter_carries_its_pages_trace_and_is_no_journey(fetcher, spans, outbox, simulator):
    simulator.put({"missing_field": {"path": "dob"}})
    fetcher(1)._page(FIRST)
    (letter,) = [row for row in outbox.waiting(0, 99) if row.topic == DEAD_LETTERS][:1]
    (page,) = by_name(spans)["page"]
    sent = headers(outbox, letter)
    assert (sent["traceparent"].decode(), "tracestate" in sent) == (tracing.traceparent(page.context), False)


def test_without_traces_no_message_carries_one(fetcher, outbox):
    fetcher(1)._page(FIRST)
    rows = outbox.waiting(0, 99)
    assert {(row.trace, row.journey) for row in rows} == {("", False)}
    assert [name for row in rows for name in headers(outbox, row)] == ["vigie.row"] * 20


def test_every_attempt_has_its_span_with_what_went_wrong(fetcher, spans, simulator):
    simulator.put({"status": {"code": 503}})
    assert not fetcher(1)._page(FIRST)
    found = by_name(spans)
    assert [(call.attributes["vigie.attempt"], call.attributes["error.type"]) for call in found["GET"]] == [
        (1, "SourceUnavailable"),
        (2, "SourceUnavailable"),
    ]
    assert found["GET"][0].attributes["http.response.status_code"] == 503
    (page,) = found["page"]
    assert (page.status.is_ok, page.attributes["error.type"], "keep" in found) == (False, "SourceUnavailable", False)


def test_no_span_names_a_person_or_a_query_or_has_an_attribute_that_is_not_written_down(fetcher, spans, simulator):
    pages = fetcher(1)
    pages._page(FIRST)
    simulator.put({"set_field": {"path": "gender", "value": "a planted name"}})
    pages._page(SECOND)
    simulator.put({"cut": {}})
    pages._page(Cursor("tests", 3, 20))
    people = users("tests", 1, 20, today=date(2026, 1, 1))
    never = {one["email"] for one in people} | {one["login"]["uuid"] for one in people}
    never |= {"planted", "a-secret", "seed="}
    for span in spans.get_finished_spans():
        said = f"{span.attributes} {span.status.description}"
        assert not [word for word in never if word in said]
        assert {*span.attributes} <= {*NAMES[span.name].attributes}


def test_the_same_users_are_journeys_whenever_they_come():
    everyone = [i for page in range(1, 101) for i in ids("tests", page, 100)]
    of = {share: {i for i in everyone if is_journey(i, share)} for share in (0, 0.01, 0.1, 1)}
    assert (of[0], len(of[1])) == (set(), len(everyone))
    assert all(less < more for less, more in pairwise(of[share] for share in sorted(of)))
    assert 70 < len(of[0.01]) < 130
    assert [is_journey("858906f1-e8e5-43e1-9d3d-aba6056b52a1", share) for share in (0.61, 0.62)] == [False, True]


def row(seq: int, topic: str, trace: str = "") -> Row:
    return Row(seq, topic, None, b"", None, None, trace)


def trace_of(n: int) -> str:
    return f"00-{n:032x}-{n:016x}-01"


def test_a_batch_is_of_one_topic_and_keeps_its_order():
    rows = [row(1, USERS), row(2, DEAD_LETTERS), row(3, USERS), row(4, DEAD_LETTERS)]
    assert {topic: [one.seq for one in some] for topic, some in by_topic(rows)} == {USERS: [1, 3], DEAD_LETTERS: [2, 4]}
    assert by_topic([]) == []


def test_a_batch_is_linked_to_a_few_of_its_pages_once_each():
    rows = [row(n, USERS, trace_of(1 + n // 3)) for n in range(300)] + [row(400, USERS)]
    found = [one.trace_id for one in contexts(rows)]
    assert found == list(range(1, tracing.LINKS + 1))


def test_a_journeys_message_is_a_step_of_its_own_trace_linked_to_its_batch(spans):
    batch = tracing.parsed(trace_of(9))
    step(Acknowledged(1, USERS, 2, 77, b"{}"), trace_of(5), batch, 1000, 2000)
    (sent,) = spans.get_finished_spans()
    assert (sent.name, sent.context.trace_id, sent.parent.span_id) == ("send users.raw", 5, 5)
    assert [link.context.trace_id for link in sent.links] == [9]
    place = sent.attributes["messaging.destination.partition.id"], sent.attributes["messaging.kafka.offset"]
    assert place == ("2", 77)
    assert (sent.attributes["vigie.journey"], sent.start_time, sent.end_time) == ("true", 1000, 2000)
    assert {*sent.attributes} <= {*names.SEND.attributes}
