"""A good record as the API sends it, what is made of it, and the spans that a test makes."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.contract import Source, UserEvent
from services.records import parse
from services.simulator import people

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def records() -> list[dict[str, Any]]:
    """Ten good records of all nations."""
    return list(people.users("tests", 1, 10, (), today=date(2026, 11, 24)))


@pytest.fixture
def users(records: list[dict[str, Any]]) -> list[UserEvent]:
    return [parse(json.dumps(record).encode(), Source("tests", 1, 10), AT, 262_144) for record in records]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Traces are on for this test alone; what ends is here."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return memory
