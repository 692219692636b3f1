"""The admin port, on loopback unless it is told otherwise: faults are switched and the journal is read here."""

import re

from services.simulator import faults
from services.simulator.server import Simulator
from services.simulator.web import Handler, Listener, Reply, json

MAX_BODY = 4 << 20  # room for a name of 2 MB


class AdminListener(Listener):
    """The listener of the admin port; a port of 0 takes a free one. `names` are the hosts it may be called by."""

    def __init__(self, at: str, port: int, simulator: Simulator, host: str) -> None:
        self.simulator = simulator
        self.names = {"localhost", "127.0.0.1", "[::1]", host.lower(), at.lower()}
        super().__init__((at, port), AdminHandler)


class AdminHandler(Handler):
    """
    GET /health, /journal, /faults; PUT /faults replaces all of them; DELETE /faults clears them.

    A Host or an Origin that is not this machine's is refused with 403, so that a web page of another site cannot come
    in, neither by a name of its own nor by ours.
    """

    server: AdminListener

    def do_GET(self) -> None:  # noqa: N802  # the name that http.server calls
        self._answer(b"")

    def do_DELETE(self) -> None:  # noqa: N802  # the name that http.server calls
        self._answer(b"")

    def do_PUT(self) -> None:  # noqa: N802  # the name that http.server calls
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,18}", length):
            self._refuse(411, "a Content-Length is required")
        elif int(length) > MAX_BODY:
            self._refuse(413, f"the body is larger than {MAX_BODY} bytes")
        else:
            self._answer(self.rfile.read(int(length)))

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer without reading the body, so that this connection cannot go on."""
        self.close_connection = True
        self.send(_error(status, sentence))

    def _answer(self, body: bytes) -> None:
        host = self.headers.get("Host", "")
        callers = [host, *(origin.partition("://")[2] for origin in self.headers.get_all("Origin", []))]
        strangers = [one for one in callers if re.sub(r":[0-9]+\Z", "", one).lower() not in self.server.names]
        refused = _error(403, f"{strangers[0][:100]!r}: not a name of this machine") if strangers else None
        self.send(refused or self._reply(body))

    def _reply(self, body: bytes) -> Reply:
        board, journal = self.server.simulator.board, self.server.simulator.journal
        match self.command, self.path:
            case "GET", "/health":
                return json(200, {"status": "ok"})
            case "GET", "/journal":
                return json(200, journal.as_object() | {"faults": board.struck()})
            case "GET", "/faults":
                return json(200, faults.as_object(board.on()))
            case "DELETE", "/faults":
                return _switched(board, b"{}")
            case "PUT", "/faults":
                return _switched(board, body)
            case _:
                return _error(404, f"no {self.command} {self.path[:100]} here")


def _switched(board: faults.Board, body: bytes) -> Reply:
    """The faults that are on after the switch, or why nothing has changed."""
    try:
        board.replace(faults.decode(body))
    except faults.WrongFault as error:
        return _error(400, str(error))
    return json(200, faults.as_object(board.on()))


def _error(status: int, sentence: str) -> Reply:
    return json(status, {"error": sentence})
