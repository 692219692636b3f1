"""What Jaeger has of a trace: its spans, in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import requests

PATIENCE_S = 5

Place = tuple[int, int]  # a message's partition and offset


@dataclass(frozen=True)
class Span:
    """One span of a trace."""

    began: datetime
    took: timedelta
    service: str
    name: str
    failed: str = ""
    place: Place | None = None  # of the message it is about: partition, offset
    span_id: str = ""
    parent_id: str = ""


def spans(body: bytes) -> list[Span]:
    """
    The spans in Jaeger's answer (OTLP as JSON, one object or several in a row), oldest first.

    Raises:
        ValueError: it is no such answer.
    """
    found = []
    for line in filter(bytes.strip, body.splitlines() if b"\n{" in body else [body]):
        answer = msgspec.json.decode(line)
        for resource in answer.get("result", answer).get("resourceSpans", []):
            service = attributes(resource["resource"]).get("service.name", "?")
            for scope in resource.get("scopeSpans", []):
                found += [span(service, one) for one in scope.get("spans", [])]
    return sorted(found, key=lambda one: (one.began, -one.took))


def span(service: str, one: Mapping[str, Any]) -> Span:
    began, ended = int(one["startTimeUnixNano"]), int(one["endTimeUnixNano"])
    told = attributes(one)
    offset, partition = told.get("messaging.kafka.offset"), told.get("messaging.destination.partition.id")
    failed = told.get("error.type", "error") if one.get("status", {}).get("code") in (2, "STATUS_CODE_ERROR") else ""
    return Span(
        datetime.fromtimestamp(began / 1e9, UTC),
        timedelta(microseconds=(ended - began) / 1000),
        service,
        one["name"],
        str(failed),
        None if offset is None or partition is None else (int(partition), int(offset)),
        one.get("spanId", ""),
        one.get("parentSpanId", ""),
    )


def attributes(of: Mapping[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values()), None) for one in of.get("attributes", [])}


def asked(jaeger: str, trace_id: str) -> tuple[list[Span], str]:
    """The trace's spans, or why there are none."""
    try:
        answer = requests.get(f"{jaeger}/api/v3/traces/{trace_id}", timeout=PATIENCE_S)
        if answer.status_code == requests.codes.not_found:
            return [], "Jaeger does not have it: not sampled, not there yet, or forgotten"
        answer.raise_for_status()
        return spans(answer.content), ""
    except (requests.RequestException, ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
        return [], f"Jaeger could not be asked: {type(error).__name__}: {str(error)[:150]}"


def of_message(every: Sequence[Span], own: Place | None) -> list[Span]:
    """The page's spans and those of the message at this place: none about another message, nor what is below one."""
    if own is None:
        return list(every)
    by_id = {one.span_id: one for one in every if one.span_id}

    def about(one: Span | None) -> Place | None:
        while one is not None and one.place is None:
            one = by_id.get(one.parent_id)
        return one.place if one else None

    return [one for one in every if about(one) in (None, own)]
