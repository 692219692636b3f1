"""Plain HTTP/1.1 with keep-alive, down to the bytes: what both ports share, and what a client never gets elsewhere."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

import msgspec

from observability.logs import Log

log = Log(__name__)

_PIECE_S = 0.05  # a trickled body moves as often as this, or once a byte where that is rarer


@dataclass(frozen=True)
class Reply:
    """An answer, and how it arrives: closed after half of the body where `cut`, so many bytes a second if given."""

    status: int
    content_type: str
    body: bytes
    retry_after: int | None = None
    cut: bool = False
    bytes_per_second: int | None = None


def text(status: int, sentence: str | None = None, retry_after: int | None = None) -> Reply:
    """A text body, the status's own phrase unless given: `Not Found`."""
    return Reply(status, "text/plain; charset=utf-8", (sentence or _phrase(status)).encode(), retry_after)


def json(status: int, value: Any) -> Reply:
    """A JSON body."""
    return Reply(status, "application/json; charset=utf-8", msgspec.json.encode(value))


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else str(status)


class Listener(ThreadingHTTPServer):
    """A thread for each connection; it says nothing of a client that went away."""

    daemon_threads = True
    request_queue_size = 128

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Bind without asking a name server who we are."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # socketserver's own signature
        if not isinstance(error := sys.exception(), OSError):
            log.error("a request was not answered", reason=f"{type(error).__name__}: {error}")


class Handler(BaseHTTPRequestHandler):
    """One connection: `send` writes a reply; an idle client is left after 30 seconds."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "vigie-simulator", ""
    timeout = 30
    wbufsize = 1 << 16  # headers and a short body leave in one packet
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing for each request: the journal counts them."""

    def send(self, reply: Reply) -> None:
        self.send_response(reply.status, _phrase(reply.status))
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        if reply.retry_after is not None:
            self.send_header("Retry-After", str(reply.retry_after))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        body = reply.body[: len(reply.body) // 2] if reply.cut else reply.body
        if reply.bytes_per_second is None:
            self.wfile.write(body)
        else:
            self._trickle(body, reply.bytes_per_second)
        self.close_connection = self.close_connection or reply.cut

    def _trickle(self, body: bytes, bytes_per_second: int) -> None:
        self.wfile.flush()
        for piece in pieces(body, max(1, int(bytes_per_second * _PIECE_S))):
            time.sleep(len(piece) / bytes_per_second)
            self.wfile.write(piece)
            self.wfile.flush()


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    """The body in pieces of so many bytes."""
    return (body[start : start + size] for start in range(0, len(body), size))
