"""What is looked at is noted by each source for itself: one that hangs or fails keeps nobody waiting, and is told."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest

from chaos import watch
from chaos.watch import DOWN, Note, Watch


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EVERY_S", {"quick": 0.05, "fails": 0.05})
    monkeypatch.setattr(watch, "PATIENCE_S", 0.1)


def fails() -> dict[str, Any]:
    raise ConnectionError("nobody there")


def test_a_source_that_hangs_or_fails_keeps_the_others_from_nothing():
    hung = threading.Event()
    asked = {"quick": lambda: {"n": 1}, "hangs": lambda: {"late": hung.wait(5)}, "fails": fails}
    with Watch(asked) as seen:
        ends = time.monotonic() + 5
        while sum(note.source == "quick" for note in seen.all()) < 5:
            assert time.monotonic() < ends
            time.sleep(0.05)
        assert seen.last("quick") == {"n": 1}
        assert seen.last("fails") is None
        assert seen.last("hangs") is None
        hung.set()
    told = next(note for note in seen.all() if note.source == "fails")
    assert told.values == {DOWN: "ConnectionError: nobody there"}


def test_what_was_said_too_long_ago_is_not_said_now():
    seen = Watch({})
    seen.notes = [Note(time.time() - 30, "quick", {"n": 1})]
    assert seen.last("quick") is None
    assert seen.last("quick", within_s=60) == {"n": 1}


def test_the_guard_sees_every_note():
    seen: list[Note] = []
    with Watch({"quick": lambda: {"n": 1}}, seen.append) as one:
        ends = time.monotonic() + 5
        while len(seen) < 3:
            assert time.monotonic() < ends
            time.sleep(0.02)
    assert one.all()[:3] == seen[:3]


@pytest.fixture
def answering() -> Iterator[tuple[str, dict[str, Any]]]:
    """A server of ours that answers each path with what the test put there."""
    pages: dict[str, Any] = {}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = msgspec.json.encode(pages[self.path.split("?")[0]])
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", pages
        server.shutdown()


def test_alerts_are_told_by_their_state_with_their_severity(answering: tuple[str, dict[str, Any]]):
    address, pages = answering
    labels = [
        {"alertname": "BrokerDown", "alertstate": "firing", "severity": "ticket"},
        {"alertname": "UsersLate", "alertstate": "pending", "severity": "page", "store": "mongodb", "part": "pipeline"},
        {"alertname": "UsersLate", "alertstate": "pending", "severity": "page", "store": "cassandra"},
    ]
    pages["/api/v1/query"] = {"data": {"result": [{"metric": one, "value": [0, "1"]} for one in labels]}}
    pages["/api/v2/alerts"] = [
        {"labels": labels[0], "status": {"state": "active"}},
        {"labels": {"alertname": "UnderReplicated", "severity": "ticket"}, "status": {"state": "suppressed"}},
    ]
    places = watch.Places(None, address, address, address)  # type: ignore[arg-type]
    assert watch.alerts(places) == {
        "firing": {"BrokerDown": "ticket"},
        "pending": {"UsersLate": "page"},
        "firing of": {"BrokerDown": []},
        "pending of": {"UsersLate": ["cassandra", "mongodb"]},
    }
    assert watch.told(places) == {"active": {"BrokerDown": "ticket"}, "suppressed": {"UnderReplicated": "ticket"}}
