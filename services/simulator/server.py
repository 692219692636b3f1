"""The API's port: a request becomes a reply, by the API's rules, the client's limit and the faults that strike."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from services.simulator import api, damage
from services.simulator.faults import (
    Board,
    Cut,
    Empty,
    ErrorBody,
    Fault,
    FieldFault,
    Html,
    InvalidUtf8,
    Latency,
    MissingField,
    RepeatPage,
    SetField,
    Status,
    Trickle,
    Truncated,
    WrongType,
)
from services.simulator.ledger import Journal, Limit
from services.simulator.web import Handler, Listener, Reply, text

_FIELD_FAULTS: tuple[type[FieldFault], ...] = (MissingField, WrongType, SetField, InvalidUtf8)
_JSON = api.FORMATS["json"]
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n"


@dataclass(frozen=True)
class Simulator:
    """What a running simulator is made of: its limit, its faults, its journal and its ways to wait."""

    limit: Limit
    board: Board
    journal: Journal
    sleep: Callable[[float], None] = time.sleep

    def reply(self, target: str, client: str) -> Reply:
        """Answer a GET of `target`, a path with its query, to the client with this address."""
        self.journal.request()
        reply = self._reply(target, client)
        self.journal.answered(reply.status)
        return reply

    def _reply(self, target: str, client: str) -> Reply:
        path, _, query = target.partition("?")
        if path not in api.PATHS:
            return text(404)
        if late := self.board.strike(Latency):
            self.sleep(late.seconds)
        reply = self._instead() or self._page(api.parse(query, secrets.token_hex(8)), client)
        slow = self.board.strike(Trickle)
        return replace(reply, bytes_per_second=slow.bytes_per_second) if slow else reply

    def _instead(self) -> Reply | None:
        """The answer of the first fault that strikes in the page's place."""
        if status := self.board.strike(Status):
            return text(status.code, status.text, status.retry_after)
        if html := self.board.strike(Html):
            return Reply(html.code, "text/html; charset=utf-8", _HTML)
        if body := self.board.strike(ErrorBody):
            return Reply(body.code, _JSON, api.error(api.OUTAGE))
        return None

    def _page(self, query: api.Query, client: str) -> Reply:
        taken = self.limit.take(client, query.results)
        if taken is not None:
            self.journal.limited()
            return Reply(429, _JSON, api.error(api.TOO_MANY.format(users=taken)))
        number, page = self._repeated(query)
        page = self._damaged(page)
        body = damage.spoiled(api.encode(page, query.format))
        halved, cut = self._struck(Truncated), self._struck(Cut)
        if not (halved or cut):
            self.journal.served(query.seed, query.results, number, len(page["results"]))
        return Reply(200, api.FORMATS[query.format], body[: len(body) // 2] if halved else body, cut=cut)

    def _repeated(self, query: api.Query) -> tuple[int, api.Page]:
        """The page and its true number, which is the one before where that fault strikes."""
        today = datetime.now(UTC).date()
        repeat = self.board.strike(RepeatPage)
        if repeat is None:
            return query.page, api.page(query, today)
        before = replace(query, page=max(1, query.page - 1))
        page = api.page(before, today)
        if query.info and not repeat.honest:
            page["info"]["page"] = query.page
        return before.page, page

    def _damaged(self, page: api.Page) -> api.Page:
        if self._struck(Empty):
            page = page | {"results": []}
        for kind in _FIELD_FAULTS:
            if fault := self.board.strike(kind):
                page = damage.damaged(page, fault)
        return page

    def _struck(self, kind: type[Fault]) -> bool:
        return self.board.strike(kind) is not None


class ApiListener(Listener):
    """The listener of the API's port; a port of 0 takes a free one."""

    def __init__(self, host: str, port: int, simulator: Simulator) -> None:
        self.simulator = simulator
        super().__init__((host, port), ApiHandler)


class ApiHandler(Handler):
    """A client of the API."""

    server: ApiListener

    def do_GET(self) -> None:  # noqa: N802  # the name that http.server calls
        self.send(self.server.simulator.reply(self.path, str(self.client_address[0])))
