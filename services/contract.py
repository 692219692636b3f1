"""
What the services promise to every reader of the topics: topic names, headers, and the user event with its version.

    ContractError
    ├── MalformedUser       a record that the source sent breaks the source's contract
    └── PoisonMessage       a message on users.raw is not a user event of a version we know
"""

import re
from datetime import datetime
from typing import Annotated, Literal

import msgspec

USERS = "users.raw"
DEAD_LETTERS = "users.dlq"
VERSION = 1

# Headers of a dead letter: its value is the original bytes, without the secrets; its key is the user's id, if known.
REASON, STAGE, ORIGIN, CUT = "vigie.reason", "vigie.stage", "vigie.origin", "vigie.cut"

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
    """Where a user came from: the seed and the page of the call, the way to fetch the same user again."""

    seed: Text
    page: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]


class UserEvent(msgspec.Struct, frozen=True, kw_only=True):
    """
    One user as published on users.raw: JSON, keyed by `user_id`, without a secret.

    `fetched_at` is the ingress's clock (UTC) at the end of the API call; `age` is the source's, in years.
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


class _Version(msgspec.Struct):
    v: int


_event = msgspec.json.Decoder(UserEvent)
_version = msgspec.json.Decoder(_Version)


def decode(value: bytes | None) -> UserEvent:
    """
    Read one message of users.raw.

    Raises:
        PoisonMessage: it is empty, not JSON, of an unknown version, or a field is missing or of the wrong type.
    """
    if value is None:
        raise PoisonMessage("no value")
    try:
        return _event.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PoisonMessage(_why(value, error)) from error


def _why(value: bytes, error: Exception) -> str:
    try:
        version = _version.decode(value).v
    except (msgspec.DecodeError, UnicodeDecodeError):
        return str(error)
    return str(error) if version == VERSION else f"schema version {version} is not known; this one reads {VERSION}"


def encode(event: UserEvent) -> bytes:
    """The message that `decode` reads back to the same event."""
    return msgspec.json.encode(event)


_STRING = rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)'
_SECRET = re.compile(rb'("(?:' + "|".join(SECRETS).encode() + rb')"\s*:\s*)' + _STRING)
_ID = re.compile(rb'("id"\s*:\s*\{[^{}]*?"value"\s*:\s*)' + _STRING)
