"""
What can go wrong on demand: every fault is data, named as the admin port names it; `damage.py` does it.

Order of striking: `latency`; then the first of `status`, `html`, `error_body` answers in the page's place; then
`repeat_page`, `empty`, `missing_field`, `wrong_type`, `set_field`, `invalid_utf8` change the page; then `truncated`
shortens its bytes; then `cut` and `trickle` change how they arrive.

    WrongFault      the admin port was sent a fault that is not one; the text names it
"""

import random
import threading
from collections import Counter
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Code = Annotated[int, msgspec.Meta(ge=200, le=599)]
Path = Annotated[str, msgspec.Meta(pattern=r"^[^.]+(\.[^.]+)*\Z", max_length=200)]


class WrongFault(Exception):
    """There is no such fault, or one of its options is unknown or has the wrong type."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """It strikes a request with probability `rate`, and is switched off after it struck `times`."""

    name: ClassVar[str]
    rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None


class FieldFault(Fault, frozen=True, kw_only=True):
    """It hits the users 0, k, 2k ... of a page where `every` is k, else the first alone."""

    every: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def hits(self, index: int) -> bool:
        return index == 0 if self.every is None else index % self.every == 0


class Latency(Fault, frozen=True, kw_only=True):
    """The answer comes so many seconds later."""

    name: ClassVar[str] = "latency"
    seconds: Seconds


class Status(Fault, frozen=True, kw_only=True):
    """A status with a text body (the status's own phrase, unless given), and Retry-After in whole seconds if given."""

    name: ClassVar[str] = "status"
    code: Annotated[int, msgspec.Meta(ge=400, le=599)]
    text: str | None = None
    retry_after: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Html(Fault, frozen=True, kw_only=True):
    """A proxy's page of HTML instead of JSON."""

    name: ClassVar[str] = "html"
    code: Code = 502


class ErrorBody(Fault, frozen=True, kw_only=True):
    """The API's own words for an outage, with a status of success."""

    name: ClassVar[str] = "error_body"
    code: Code = 200


class RepeatPage(Fault, frozen=True, kw_only=True):
    """The users of the page before; `info.page` tells it where `honest`, else claims the page that was asked for."""

    name: ClassVar[str] = "repeat_page"
    honest: bool = False


class Empty(Fault, frozen=True, kw_only=True):
    """No users, and an `info` that claims them."""

    name: ClassVar[str] = "empty"


class MissingField(FieldFault, frozen=True, kw_only=True):
    """The field at a dotted path is not there."""

    name: ClassVar[str] = "missing_field"
    path: Path


class WrongType(FieldFault, frozen=True, kw_only=True):
    """The field at a dotted path is wrapped in a list, which is no field's type."""

    name: ClassVar[str] = "wrong_type"
    path: Path


class SetField(FieldFault, frozen=True, kw_only=True):
    """The field at a dotted path, there or new, has this value."""

    name: ClassVar[str] = "set_field"
    path: Path
    value: Any


class InvalidUtf8(FieldFault, frozen=True, kw_only=True):
    """The first name holds bytes that are not UTF-8."""

    name: ClassVar[str] = "invalid_utf8"


class Truncated(Fault, frozen=True, kw_only=True):
    """A whole reply, by its Content-Length, of half the body."""

    name: ClassVar[str] = "truncated"


class Cut(Fault, frozen=True, kw_only=True):
    """The Content-Length of the whole body, and a connection that closes after half of it."""

    name: ClassVar[str] = "cut"


class Trickle(Fault, frozen=True, kw_only=True):
    """The body arrives piece by piece, so many bytes a second."""

    name: ClassVar[str] = "trickle"
    bytes_per_second: Annotated[int, msgspec.Meta(ge=1)]


F = TypeVar("F", bound=Fault)
_KINDS: tuple[type[Fault], ...] = (
    Latency,
    Status,
    Html,
    ErrorBody,
    RepeatPage,
    Empty,
    MissingField,
    WrongType,
    SetField,
    InvalidUtf8,
    Truncated,
    Cut,
    Trickle,
)
KINDS = {kind.name: kind for kind in _KINDS}


def decode(body: bytes) -> list[Fault]:
    """
    Read what the admin port is sent: a JSON object of faults by name, `{"status": {"code": 503, "times": 2}}`.

    Raises:
        WrongFault: it is not such an object; the text names the fault and the option.
    """
    try:
        sent = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WrongFault(f"not a JSON object of faults: {error}") from error
    return [_fault(name, options) for name, options in sent.items()]


def _fault(name: str, options: msgspec.Raw) -> Fault:
    if name not in KINDS:
        raise WrongFault(f"{name[:100]!r}: no such fault; there are {', '.join(KINDS)}")
    try:
        return msgspec.json.decode(options, type=KINDS[name])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WrongFault(f"{name}: {error}") from error


def as_object(faults: list[Fault]) -> dict[str, dict[str, Any]]:
    """The object that `decode` reads back to the same faults."""
    return {fault.name: msgspec.structs.asdict(fault) for fault in faults}


class Board:
    """The faults that are switched on now, and how often each kind has struck; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._on: dict[type[Fault], Fault] = {}
        self._struck: Counter[str] = Counter()

    def replace(self, faults: list[Fault]) -> None:
        with self._lock:
            self._on = {type(fault): fault for fault in faults}

    def on(self) -> list[Fault]:
        with self._lock:
            return list(self._on.values())

    def struck(self) -> dict[str, int]:
        with self._lock:
            return dict(self._struck)

    def strike(self, kind: type[F]) -> F | None:
        """Return the fault of this kind if it is on and strikes now; that is counted, and its `times` go down."""
        with self._lock:
            fault = self._on.get(kind)
            if not isinstance(fault, kind) or random.random() >= fault.rate:
                return None
            if fault.times is not None:
                self._on[kind] = msgspec.structs.replace(fault, times=fault.times - 1)
            if fault.times == 1:
                del self._on[kind]
            self._struck[kind.name] += 1
            return fault
