"""
A trace as Jaeger's HTTP API has it: its spans, oldest first, those of one message of the page apart.

    NoTrace     Jaeger does not have the trace: it was not sampled, is not there yet, or is forgotten by now
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import requests
import streamlit as st

from dashboard.prometheus import TIMEOUT_S
from dashboard.stores import StoreDown
from dashboard.words import word

DEEPEST = 40  # spans between one and the root; a trace whose spans name each other in a ring has an end all the same

Place = tuple[int, int]  # a message's partition and offset


class NoTrace(Exception):
    """Jaeger does not have the trace."""


@dataclass(frozen=True)
class Span:
    """One span: when it began and how long it took (seconds), whose it is, and the message that it is about."""

    began: float
    took: float
    service: str
    name: str
    failed: str = ""
    place: Place | None = None
    span_id: str = ""
    parent_id: str = ""


class _Attribute(msgspec.Struct):
    key: str
    value: dict[str, Any] = {}


class _Status(msgspec.Struct):
    code: int | str = 0


class _Span(msgspec.Struct, rename="camel"):
    name: str
    span_id: str
    start_time_unix_nano: int | str
    end_time_unix_nano: int | str
    parent_span_id: str = ""
    attributes: list[_Attribute] = []
    status: _Status = msgspec.field(default_factory=_Status)


class _Scope(msgspec.Struct):
    spans: list[_Span] = []


class _Resource(msgspec.Struct):
    attributes: list[_Attribute] = []


class _OfResource(msgspec.Struct, rename="camel"):
    resource: _Resource = msgspec.field(default_factory=_Resource)
    scope_spans: list[_Scope] = []


class _Result(msgspec.Struct, rename="camel"):
    resource_spans: list[_OfResource] = []


class _Answer(msgspec.Struct, rename="camel"):
    result: _Result | None = None
    resource_spans: list[_OfResource] = []


def asked(address: str, trace_id: str) -> tuple[Span, ...]:
    """
    The trace's spans, oldest first.

    Raises:
        NoTrace: Jaeger answers that it has none of this id.
        StoreDown: it cannot be reached, does not answer, or answers what it should not.
    """
    try:
        answer = requests.get(f"{address}/api/v3/traces/{trace_id}", timeout=TIMEOUT_S)
    except requests.ConnectionError as error:
        raise StoreDown(word("it cannot be reached")) from error
    except requests.RequestException as error:
        raise StoreDown("it does not answer") from error
    if answer.status_code == requests.codes.not_found:
        raise NoTrace
    if not answer.ok:
        raise StoreDown(f"it answers {answer.status_code}")
    try:
        return spans(answer.content)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise StoreDown(word("its answer is none that it should give")) from error


def spans(body: bytes) -> tuple[Span, ...]:
    """The spans in Jaeger's answer: OTLP as JSON, one object or several in a row."""
    found = []
    for line in filter(bytes.strip, body.splitlines() if b"\n{" in body else [body]):
        answer = msgspec.json.decode(line, type=_Answer)
        for resource in (answer.result or answer).resource_spans:
            service = str(told(resource.resource.attributes).get("service.name", "?"))
            found += [_span(service, one) for scope in resource.scope_spans for one in scope.spans]
    return tuple(sorted(found, key=lambda one: (one.began, -one.took)))


def _span(service: str, one: _Span) -> Span:
    began, ended = int(one.start_time_unix_nano) / 1e9, int(one.end_time_unix_nano) / 1e9
    about = told(one.attributes)
    partition, offset = about.get("messaging.destination.partition.id"), about.get("messaging.kafka.offset")
    failed = str(about.get("error.type", "error")) if one.status.code in (2, "STATUS_CODE_ERROR") else ""
    place = None if partition is None or offset is None else (int(partition), int(offset))
    return Span(began, max(0.0, ended - began), service, one.name, failed, place, one.span_id, one.parent_span_id)


def told(attributes: Sequence[_Attribute]) -> Mapping[str, Any]:
    return {one.key: next(iter(one.value.values()), None) for one in attributes}


def of_message(every: Sequence[Span], own: Place | None) -> tuple[Span, ...]:
    """The page's spans and those of the message at this place: none about another message, nor what is below one."""
    if own is None:
        return tuple(every)
    by_id = {one.span_id: one for one in every if one.span_id}

    def about(one: Span | None) -> Place | None:
        for _ in range(DEEPEST):
            if one is None or one.place is not None:
                break
            one = by_id.get(one.parent_id)
        return one.place if one else None

    return tuple(one for one in every if about(one) in (None, own))


@st.cache_data(ttl=60, max_entries=4, show_spinner=False)
def has_page(address: str) -> bool:
    """Whether this Jaeger has web pages; the one that `make up` builds has only its API."""
    try:
        return "<html" in requests.get(address, timeout=(0.3, 0.7)).text[:500].lower()
    except requests.RequestException:
        return False


def searched(address: str, outside: str, service: str) -> str:
    """Where a viewer finds the traces of a service."""
    if has_page(address):
        return f"{outside}/search?service={service}"
    return f"{outside}/api/traces?service={service}&limit=20"


def linked(address: str, outside: str, trace_id: str) -> str:
    """Where a viewer finds a trace."""
    return f"{outside}/trace/{trace_id}" if has_page(address) else f"{outside}/api/v3/traces/{trace_id}"
