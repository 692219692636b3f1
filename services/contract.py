"""
What the services promise to every reader of the topics: topic names, headers, and the user event with its version.

    ContractError
    ├── MalformedUser       a record that the source sent breaks the source's contract (services.records)
    └── PoisonMessage       a message on users.raw is not a user event of a version we know
"""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

USERS = "users.raw"
DEAD_LETTERS = "users.dlq"
VERSION = 1

# Headers. Of every message that ingestion sends: `<outbox id>:<row>`, by which a row is known again on its topic, and
# W3C's `traceparent` of the page it came with (`tracestate: vigie=journey` where the user's whole way is traced).
ROW = "vigie.row"
# Of a dead letter: why, where it was set aside (`ingest` or `raw`), and what it was there: a Fetch as JSON, or
# `topic:partition:offset`. Its value is the original bytes without the secrets, up to MAX_DEAD_LETTER_BYTES; its key is
# the user's id, if known. Of a message that was sent anew from a dead letter: that letter's `topic:partition:offset`.
REASON, STAGE, ORIGIN, REPLAY = "vigie.reason", "vigie.stage", "vigie.origin", "vigie.replay"
INGEST = "ingest"
MAX_DEAD_LETTER_BYTES = 4 * 2**20

SECRETS = ("password", "salt", "md5", "sha1", "sha256")  # of `login`; and `id.value`

Text = Annotated[str, msgspec.Meta(max_length=512)]
Uuid = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
Age = Annotated[int, msgspec.Meta(ge=0, le=150)]
Small = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
Nation = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}\Z")]
Aware = Annotated[datetime, msgspec.Meta(tz=True)]


class ContractError(Exception):
    """The base of what a record or a message can have wrong."""


class PoisonMessage(ContractError):
    """A message on users.raw is not a user event of a version we know; the text says why."""


class Part(msgspec.Struct, frozen=True):
    """A part of a user; a field that we do not know is ignored, so that a new one breaks nothing."""


class Name(Part, frozen=True):
    title: Text
    first: Text
    last: Text


class Street(Part, frozen=True):
    number: Small
    name: Text


class Coordinates(Part, frozen=True):
    latitude: Text  # a decimal as a string, as the source sends it
    longitude: Text


class Timezone(Part, frozen=True):
    offset: Text
    description: Text


class Location(Part, frozen=True):
    street: Street
    city: Text
    state: Text
    country: Text
    postcode: Small | Text  # an integer in most nations, a string in CA, GB and NO
    coordinates: Coordinates
    timezone: Timezone


class Birth(Part, frozen=True):
    date: Aware
    age: Age


class Registered(Part, frozen=True):
    date: Aware
    age: Age


class Picture(Part, frozen=True):
    large: Text
    medium: Text
    thumbnail: Text


class Source(Part, frozen=True):
    """Where a user came from: the call's seed, page and page size, the way to fetch the same user again."""

    seed: Text
    page: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    page_size: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]


class Fetch(Part, frozen=True):
    """The call that a record came with, and when it ended."""

    source: Source
    fetched_at: Aware


class UserEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One user as published on users.raw: JSON, keyed by `user_id`, without a secret.

    `fetched_at` is the ingress's clock (UTC) at the end of the API call; `age` is the source's, in years. A `canary` is
    nobody: it goes every hop's way, is kept apart in both stores, and is counted nowhere among the users.
    """

    v: Literal[1]
    user_id: Uuid
    fetched_at: Aware
    source: Source
    gender: Literal["male", "female"]
    name: Name
    location: Location
    email: Text
    username: Text
    dob: Birth
    registered: Registered
    phone: Text
    cell: Text
    id_name: Text  # the document's kind ("INSEE"), never its value
    picture: Picture
    nat: Nation
    canary: bool = False


class _Version(msgspec.Struct):
    v: int


_event = msgspec.json.Decoder(UserEvent)
_version = msgspec.json.Decoder(_Version)
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what a decoder raises on bytes it refuses


def decode(value: bytes | None) -> UserEvent:
    """
    Read one message of users.raw.

    Raises:
        PoisonMessage: it is empty, not JSON, of an unknown version, or a field is missing or of the wrong type.
    """
    if value is None:
        raise PoisonMessage("no value")
    try:
        event = _event.decode(value)
    except UNREADABLE as error:
        raise PoisonMessage(_why(value, error)) from error
    if not storable(event):
        raise PoisonMessage("a date is outside the years 2 to 9998")
    return event


def without_value(text: str) -> str:
    """The decoder's text without the value that it names where that is none of the allowed ones."""
    return re.sub(r"(?s)\A(Invalid enum value) .*?( - at `[^`]*`)?\Z", r"\1\2", text)


def _why(value: bytes, error: Exception) -> str:
    text = without_value(str(error))
    try:
        version = _version.decode(value).v
    except UNREADABLE:
        return text
    return text if version == VERSION else f"schema version {version} is not known; this one reads {VERSION}"


def segment_hours(retention_hours: int) -> int:
    """How much longer than its retention a topic may hold a message: it is deleted with its segment."""
    return min(24, retention_hours)


def held_hours(retention_hours: int) -> int:
    """How long at most a topic of this retention holds a message."""
    return retention_hours + segment_hours(retention_hours)


def storable(event: UserEvent) -> bool:
    """Whether every date of the event has its UTC value in every store's range."""
    return all(1 < at.year < 9999 for at in (event.fetched_at, event.dob.date, event.registered.date))


def row_of(headers: Iterable[tuple[str, bytes | None]], outbox_id: str) -> int | None:
    """The row of that outbox that a message was sent from; None of every other message, whatever it says of itself."""
    owner, _, number = (dict(headers).get(ROW) or b"").decode(errors="replace").partition(":")
    return int(number) if owner == outbox_id and re.fullmatch(r"[0-9]{1,18}", number) else None


def encode(event: UserEvent) -> bytes:
    """The message that `decode` reads back to the same event."""
    return msgspec.json.encode(event)


_REMOVED = "[removed]"
_MAY_HOLD = re.compile(rb'"(?:' + "|".join((*SECRETS, "login", "id")).encode() + rb')"|\\u', re.IGNORECASE)


def without_secrets(original: bytes) -> bytes:
    """
    Return `original` with every secret's value replaced, and not a byte changed where it holds none.

    What parses is searched at any depth; where a key comes twice only its last value is kept. What does not parse is
    kept up to where a secret may begin.
    """
    removed: list[str] = []

    def clean(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, value in pairs:
            name = key.lower()
            if key in kept:
                removed.append(key)
            if name == "id" and isinstance(value, dict):
                known = {one for one, of_it in value.items() if one.lower() == "value" and of_it is not None}
                removed.extend(known)
                kept[key] = value | dict.fromkeys(known, _REMOVED)
            elif name in SECRETS or (name in ("login", "id") and value is not None and not isinstance(value, dict)):
                removed.append(key)
                kept[key] = _REMOVED
            else:
                kept[key] = value
        return kept

    try:
        parsed = json.loads(original.decode(errors="replace"), object_pairs_hook=clean)
    except (ValueError, RecursionError):
        begins = _MAY_HOLD.search(original)
        return original[: begins.start()] + _REMOVED.encode() if begins else original
    return json.dumps(parsed).encode() if removed else original
