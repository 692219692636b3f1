"""Records of the source: what is good becomes an event, what is not is set aside, and no secret passes."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.contract import SECRETS, PoisonMessage, Source, decode, encode, without_secrets, without_value
from services.records import KINDS, MalformedUser, parse, sort
from services.source import Cursor, SourceUnavailable
from services.source import records as take_apart

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SOURCE = Source("tests", 1, 10)
LIMIT = 262_144


def as_bytes(record: Any) -> bytes:
    return json.dumps(record).encode()


def secrets_of(record: dict[str, Any]) -> list[str]:
    return [record["login"][name] for name in SECRETS] + ([record["id"]["value"]] if record["id"]["value"] else [])


def changed(record: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    record = copy.deepcopy(record)
    *way, last = path.split(".")
    part = record
    for step in way:
        part = part[step]
    if value is KeyError:
        del part[last]
    else:
        part[last] = value
    return record


def test_every_nation_becomes_an_event_that_reads_back_the_same(users):
    assert [decode(encode(user)) for user in users] == users


def test_an_event_holds_no_secret(records):
    for record in records:
        published = encode(parse(as_bytes(record), SOURCE, AT, LIMIT))
        assert not [secret for secret in secrets_of(record) if secret.encode() in published]


@pytest.mark.parametrize(
    ("path", "value", "named", "kind"),
    [
        ("gender", KeyError, "gender", "missing_field"),
        ("gender", "unknown", "$.gender", "out_of_range"),
        ("login.uuid", KeyError, "uuid", "missing_field"),
        ("login.uuid", "not-a-uuid", "$.login.uuid", "out_of_range"),
        ("dob.age", "31", "$.dob.age", "wrong_type"),
        ("dob.age", -1, "$.dob.age", "out_of_range"),
        ("dob.age", 10**30, "$.dob.age", "out_of_range"),
        ("dob.date", "yesterday", "$.dob.date", "out_of_range"),
        ("dob.date", "0001-01-01T00:00:00+14:00", "dob.date", "out_of_range"),
        ("location.postcode", None, "$.location.postcode", "wrong_type"),
        ("location.postcode", 10**40, "$.location.postcode", "out_of_range"),
        ("location.coordinates.latitude", 1.5, "latitude", "wrong_type"),
        ("name", "Ann", "$.name", "wrong_type"),
        ("name.first", "x" * 2_000_000, "bytes", "too_large"),
        ("nat", "fr", "$.nat", "out_of_range"),
        ("location", [], "$.location", "wrong_type"),
    ],
)
def test_a_wrong_field_is_named_and_its_kind_and_not_its_value(records, path, value, named, kind):
    with pytest.raises(MalformedUser, match=named.replace("$", r"\$")) as raised:
        parse(as_bytes(changed(records[0], path, value)), SOURCE, AT, LIMIT)
    assert raised.value.kind == kind
    assert not isinstance(value, str) or value not in str(raised.value)


@pytest.mark.parametrize("raw", [b"", b'{"gender"', b"nobody", b"\xff", b'{"gender": "\xff"}', b'{"x":' + b"[" * 10**5])
def test_what_is_no_json_is_of_its_own_kind(raw):
    with pytest.raises(MalformedUser) as raised:
        parse(raw, SOURCE, AT, LIMIT)
    assert raised.value.kind == "not_json"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_a_reason_names_the_field_and_never_what_stood_there(value):
    text = f"Invalid enum value {value!r} - at `$.gender`"
    assert without_value(text) == "Invalid enum value - at `$.gender`"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["gender", "name.first", "location.street", "dob.date", "dob.age", "nat"]), st.text(min_size=12))
def test_no_reason_holds_a_planted_value(records, path, value):
    try:
        parse(as_bytes(changed(records[0], path, f"planted {value}")), SOURCE, AT, LIMIT)
    except MalformedUser as error:
        assert "planted" not in str(error)
        assert error.kind in KINDS


def test_rejected_ones_keep_their_kind(records):
    rejected = sort([b"?", as_bytes(changed(records[0], "nat", KeyError))], SOURCE, AT, LIMIT)[1]
    assert [one.kind for one in rejected] == ["not_json", "missing_field"]


def test_a_new_field_breaks_nothing(records):
    assert parse(as_bytes(records[0] | {"shoe_size": 43}), SOURCE, AT, LIMIT).user_id == records[0]["login"]["uuid"]


def test_a_malformed_user_is_set_aside_and_the_others_still_pass(records):
    bad = changed(records[3], "dob.age", "31")
    raw = [as_bytes(record) for record in [*records[:3], bad, *records[4:]]]
    users, rejected = sort(raw, SOURCE, AT, LIMIT)
    assert [user.user_id for user in users] == [r["login"]["uuid"] for r in records if r is not records[3]]
    assert [(one.user_id, "$.dob.age" in one.reason) for one in rejected] == [(bad["login"]["uuid"], True)]
    assert not [secret for secret in secrets_of(bad) if secret.encode() in rejected[0].original]


def test_invalid_utf8_in_one_user_costs_that_user_only(records):
    body = as_bytes({"results": records, "info": {"seed": "tests", "page": 1, "results": 10, "version": "1.4"}})
    first = json.dumps(records[0]["name"]["first"]).encode()
    raw = take_apart(body.replace(first, b'"\xff\xfe"', 1), Cursor("tests", 1, 10))
    users, rejected = sort(raw, SOURCE, AT, LIMIT)
    assert (len(users), len(rejected)) == (9, 1)
    assert not [secret for secret in secrets_of(records[0]) if secret.encode() in rejected[0].original]


def test_what_is_no_page_of_users_is_asked_for_again(records):
    page = {"results": records, "info": {"seed": "tests", "page": 1}}
    bodies = [
        b"",
        b"Not Found",
        b"<html><body>502 Bad Gateway</body></html>",
        b"\xff\xfe",
        b"[]",
        b'{"error": "Uh oh, something has gone wrong"}',
        b"[" * 100_000,
        as_bytes(page)[:-200],
        as_bytes(page | {"results": []}),
        as_bytes(page | {"results": records[:9]}),
        as_bytes(page | {"info": None}),
        as_bytes(page | {"info": {"seed": "tests", "page": 2}}),
        as_bytes(page | {"info": {"seed": "other", "page": 1}}),
    ]
    for body in bodies:
        with pytest.raises(SourceUnavailable):
            take_apart(body, Cursor("tests", 1, 10))
    assert len(take_apart(as_bytes(page), Cursor("tests", 1, 10))) == 10


SECRET = "hunter2-planted-secret"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
planted = st.sampled_from([SECRET, [SECRET], {"deeper": SECRET}, {"value": SECRET}])


@pytest.mark.parametrize(
    "original",
    [
        b'{"id": {"name": "INSEE", "value": "%s", "value": null}}',
        b'{"ID": {"VALUE": "%s"}}',
        b'{"of": [{"id": "%s", "id": null}]}',
        b'{"LOGIN": {"Password": "%s"',
    ],
)
def test_a_secret_behind_a_key_that_comes_twice_or_in_other_letters_is_removed(original):
    assert SECRET.encode() not in without_secrets(original % SECRET.encode())


def spelt(draw, name):
    return draw(st.sampled_from([str, str.upper, str.title]))(name)


@st.composite
def broken_records(draw):
    """A record that is anything, with secrets under their own names at some depth."""
    record: Any = draw(json_values)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from([*SECRETS, "login", "id"]))
        value = draw(planted)
        if name == "login" and isinstance(value, dict):
            value = {draw(st.sampled_from(SECRETS)): value}
        if name == "id":
            value = draw(st.sampled_from([SECRET, {"name": "INSEE", spelt(draw, "value"): SECRET}, [SECRET]]))
        name = spelt(draw, name)
        record = draw(st.sampled_from([{name: value}, {"of": {name: value}}, [record, {name: value}]]))
    return record


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(broken_records() | json_values, max_size=4), st.randoms(use_true_random=False))
def test_no_body_however_broken_loses_a_good_record_or_keeps_a_secret(records, bad, random):
    good = [as_bytes(record) for record in records[:3]]
    mixed = [*good, *[as_bytes(one) for one in bad]]
    random.shuffle(mixed)
    users, rejected = sort(mixed, SOURCE, AT, LIMIT)
    assert len(users) + len(rejected) == len(mixed)
    assert sorted(user.user_id for user in users) == sorted(record["login"]["uuid"] for record in records[:3])
    assert not [one for one in rejected if SECRET.encode() in one.original]


@settings(max_examples=300, deadline=None)
@given(broken_records(), st.floats(0, 1), st.booleans())
def test_no_piece_of_a_record_keeps_a_secret(record, share, escaped):
    whole = as_bytes({"login": {"password": SECRET}, "rest": record})
    if escaped:
        whole = whole.replace(b'"password"', b'"pass\\u0077ord"')
    kept = without_secrets(whole[: int(len(whole) * share)])
    assert SECRET.encode() not in kept


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_on_the_topic_are_an_event_or_poison(value):
    with pytest.raises(PoisonMessage):
        decode(value)


def test_an_unknown_version_is_named(users):
    with pytest.raises(PoisonMessage, match="schema version 2 is not known"):
        decode(encode(users[0]).replace(b'"v":1', b'"v":2'))
