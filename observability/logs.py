"""
Logs are JSON lines on standard error: time, level, service, hop, event, fields, trace and span; never a person's data.

A line that says again what was just said (same event, same level) more than BURST times in WINDOW_S is not written but
counted; the next one that is written tells how many were left out.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from opentelemetry import trace

BURST, WINDOW_S = 30, 10.0  # a lane may tell of three batches a second, and none of these is left out
ABOUT = ("what", "lane", "part", "check")  # fields that make two lines of one event two things
ROOMS = ("services", "spark", "dashboard", "engines", "observability", "__main__")


class JsonLines(logging.Formatter):
    """One line of JSON a record; `extra={"fields": {...}}` becomes top-level keys."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        around = trace.get_current_span().get_span_context()
        ids = {"trace_id": f"{around.trace_id:032x}", "span_id": f"{around.span_id:016x}"} if around.is_valid else {}
        left_out = getattr(record, "left_out", 0)
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self.service,
            "hop": record.name,
            "event": record.getMessage(),
            **ids,
            **getattr(record, "fields", {}),
            **({"left_out": left_out} if left_out else {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


KAFKA_CONNECTIONS = "kafka.net.manager"


class Repeats(logging.Filter):
    """Lets BURST lines of an event through in each WINDOW_S, and counts the others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[object, ...], list[float]] = {}  # event -> start of its window, lines, left out
        self.counted: dict[tuple[str, str], int] = {}  # level, written or suppressed -> lines

    def filter(self, record: logging.LogRecord) -> bool:
        fields = getattr(record, "fields", {})
        about = tuple(str(fields[name]) for name in ABOUT if name in fields)
        event, now = (record.name, record.levelno, str(record.msg)[:100], about), self._clock()
        with self._lock:
            window = self._seen.get(event)
            if window is None or now - window[0] > WINDOW_S:
                record.left_out = int(window[2]) if window else 0
                if len(self._seen) > 1000:
                    self._seen.clear()
                window = self._seen[event] = [now, 0, 0]
            window[1] += 1
            written = window[1] <= BURST
            window[2] += not written
            key = (record.levelname.lower(), "yes" if written else "suppressed")
            self.counted[key] = self.counted.get(key, 0) + 1
        return written


def start(service: str, level: int = logging.INFO) -> Repeats:
    """Send this process's logs to standard error as JSON lines of `service`; libraries speak from warnings up."""
    handler, repeats = logging.StreamHandler(sys.stderr), Repeats()
    handler.setFormatter(JsonLines(service))
    handler.addFilter(repeats)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("kafka").setLevel(logging.ERROR)  # it warns of every slow turn of its own loop
    logging.getLogger(KAFKA_CONNECTIONS).setLevel(logging.WARNING)
    logging.getLogger(KAFKA_CONNECTIONS).addFilter(let_through)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings bear what the other side has sent
    logging.getLogger("opentelemetry").setLevel(
        logging.CRITICAL
    )  # observability.tracing tells what it tells each second
    for room in ROOMS:
        logging.getLogger(room).setLevel(level)
    return repeats


def let_through(record: logging.LogRecord) -> bool:
    """That a login is refused, Kafka's client says in a warning only; the error that follows is a time-out's."""
    return record.levelno >= logging.getLogger("kafka").level or "SaslAuthentication" in record.getMessage()


class Log:
    """A room's logger: `log.info("page stored", page=3, users=100)`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: Any) -> None:
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: Any) -> None:
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, **fields: Any) -> None:
        self._logger.error(event, extra={"fields": fields})
