"""The canary: a whole and harmless user event that every lane reads, and that no count of users holds."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from observability import access, metrics, names
from services import canary
from services.contract import ROW, decode, encode, row_of
from services.outbox import Outbox
from services.publisher import Publisher

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ID = "0b0e7b9a-5f6e-4c58-9d4e-0f6b6b0a4f11"


def test_a_canary_is_a_user_event_as_both_lanes_read_it():
    made = canary.event(ID, 7, AT)
    assert decode(encode(made)) == made
    assert (made.canary, made.nat, made.location.country, made.source.seed) == (True, "ZZ", "Canary", "canary")


def test_a_users_message_says_nothing_of_canaries_and_an_older_one_is_read_as_a_user(users):
    assert b"canary" not in encode(users[0])
    assert not decode(encode(users[0])).canary
    assert {*msgspec.json.decode(encode(users[0]))} == {*users[0].__struct_fields__} - {"canary"}


def test_each_canary_is_a_journey_of_its_own_and_has_its_own_id(tmp_path, spans):
    outbox = Outbox(tmp_path / "outbox.sqlite")
    sent = metrics.REGISTRY.get_sample_value(names.CANARIES_SENT.name) or 0
    assert [canary.put(outbox, AT + timedelta(seconds=n)) for n in range(2)] == [True, True]
    rows = outbox.waiting(0, 9)
    events = [decode(row.value) for row in rows]
    assert [one.source.page for one in events] == [1, 2]
    assert len({one.user_id for one in events}) == len({row.trace for row in rows}) == 2
    publisher = Publisher(outbox, access.Kafka(kafka_bootstrap="nobody:1"), None)
    assert [("tracestate", b"vigie=journey") in publisher._headers(row) for row in rows] == [True, True]
    roots = spans.get_finished_spans()
    told = [(one.name, one.parent, one.attributes["vigie.journey"]) for one in roots]
    assert told == [("page canary", None, "true")] * 2
    assert metrics.REGISTRY.get_sample_value(names.CANARIES_SENT.name) == sent + 2


def test_an_outbox_that_cannot_be_read_has_no_canary_and_the_next_is_tried(tmp_path):
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.close()
    assert canary.put(outbox, AT) is False


def test_a_full_outbox_has_no_canary_and_is_none_the_worse(tmp_path):
    outbox = Outbox(tmp_path / "outbox.sqlite", max_bytes=1000)
    assert [canary.put(outbox, AT) for _ in range(3)] == [True, False, False]
    assert outbox.counts().canaries == outbox.counts().waiting_canaries == 1


@pytest.mark.parametrize(
    "value", [None, b"", b"own", b"own:", "own:\u00b2".encode(), b"own:" + b"9" * 30, b"other:7", b"\xff"]
)
def test_a_row_that_somebody_made_up_is_none(value):
    assert row_of([(ROW, value)], "own") is None
    assert row_of([(ROW, b"own:7")], "own") == 7
