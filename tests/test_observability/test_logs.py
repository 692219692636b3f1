"""A log line is one JSON object with its fields; a lock is held by one."""

import json
import logging

import pytest

from observability import lock
from observability.logs import JsonLines


def test_a_line_is_json_with_its_fields_and_its_error():
    record = logging.LogRecord("services.x", logging.ERROR, "f", 1, "page\nkept", (), None)
    record.fields = {"page": 3, "users": {1, 2}, "path": object}
    line = JsonLines("ingest").format(record)
    assert "\n" not in line
    said = json.loads(line)
    assert (said["service"], said["level"], said["event"], said["page"]) == ("ingest", "error", "page\nkept", 3)


def test_a_lock_is_held_by_one_until_its_end(tmp_path):
    file = tmp_path / "new" / "lock"
    with (
        lock.alone(file, "one is at work"),
        pytest.raises(lock.Held, match="one is at work"),
        lock.alone(file, "one is at work"),
    ):
        pass
    with lock.alone(file, "again"):
        pass
