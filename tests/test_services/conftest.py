"""A good record as the API sends it, and what is made of it."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

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
