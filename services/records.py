"""From the API's body to events: a page is taken apart, each record is checked, secrets stay behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from services.contract import (
    MAX_DEAD_LETTER_BYTES,
    UNREADABLE,
    Birth,
    ContractError,
    Fetch,
    Location,
    Name,
    Nation,
    Part,
    Picture,
    Registered,
    Source,
    Text,
    UserEvent,
    Uuid,
    storable,
    without_secrets,
    without_value,
)

MISSING_FIELD, WRONG_TYPE, OUT_OF_RANGE, TOO_LARGE, NOT_JSON = KINDS = (
    "missing_field",
    "wrong_type",
    "out_of_range",
    "too_large",
    "not_json",
)


class MalformedUser(ContractError):
    """A record that the source sent breaks the source's contract; the text names the field and holds no value of it."""

    def __init__(self, reason: str, kind: str) -> None:
        super().__init__(reason)
        self.kind = kind  # one of KINDS


class Login(Part, frozen=True):
    """What we keep of a login; its secrets are not even read."""

    uuid: Uuid
    username: Text


class Document(Part, frozen=True):
    """What we keep of an identity document: its kind."""

    name: Text


class Record(Part, frozen=True):
    """One user as the API sends it (API 1.4)."""

    gender: Literal["male", "female"]
    name: Name
    location: Location
    email: Text
    login: Login
    dob: Birth
    registered: Registered
    phone: Text
    cell: Text
    id: Document
    picture: Picture
    nat: Nation


class _JustLogin(msgspec.Struct):
    login: Login


_record = msgspec.json.Decoder(Record)
_login = msgspec.json.Decoder(_JustLogin)


@dataclass(frozen=True)
class Rejected:
    """A record set aside: why, its bytes without the secrets, the user's id if it can be read, its call, its kind."""

    reason: str
    original: bytes
    user_id: str | None
    fetch: Fetch
    kind: str  # one of KINDS


def parse(raw: bytes, source: Source, fetched_at: datetime, max_bytes: int) -> UserEvent:
    """
    Turn one API record into the event we promise to publish.

    Raises:
        MalformedUser: it is larger than `max_bytes`, or a field is missing or wrong; its text names the field.
    """
    if len(raw) > max_bytes:
        raise MalformedUser(f"the record has {len(raw):,} bytes; at most {max_bytes:,} are taken", TOO_LARGE)
    try:
        record = _record.decode(raw)
    except UNREADABLE as error:
        raise MalformedUser(without_value(str(error)), kind_of(error)) from error
    event = UserEvent(
        v=1,
        user_id=record.login.uuid,
        fetched_at=fetched_at,
        source=source,
        gender=record.gender,
        name=record.name,
        location=record.location,
        email=record.email,
        username=record.login.username,
        dob=record.dob,
        registered=record.registered,
        phone=record.phone,
        cell=record.cell,
        id_name=record.id.name,
        picture=record.picture,
        nat=record.nat,
    )
    if not storable(event):
        raise MalformedUser("dob.date or registered.date: outside the years 2 to 9998", OUT_OF_RANGE)
    return event


def kind_of(error: Exception) -> str:
    """Which of KINDS the decoder's refusal is."""
    if not isinstance(error, msgspec.ValidationError):
        return NOT_JSON
    text = str(error)
    if "missing required field" in text:
        return MISSING_FIELD
    return WRONG_TYPE if ", got `" in text else OUT_OF_RANGE


def sort(
    records: Sequence[bytes], source: Source, fetched_at: datetime, max_bytes: int
) -> tuple[list[UserEvent], list[Rejected]]:
    """Part a page's records into events and rejected ones, each in the page's order; none is in neither."""
    events: list[UserEvent] = []
    rejected: list[Rejected] = []
    for raw in records:
        try:
            events.append(parse(raw, source, fetched_at, max_bytes))
        except MalformedUser as error:
            rejected.append(_rejected(raw, error, Fetch(source, fetched_at)))
    return events, rejected


def _rejected(raw: bytes, error: MalformedUser, fetch: Fetch) -> Rejected:
    original, reason = without_secrets(raw), str(error)
    if len(original) > MAX_DEAD_LETTER_BYTES:
        reason = f"{reason}; of the original the first {MAX_DEAD_LETTER_BYTES:,} bytes are kept"
    return Rejected(reason, original[:MAX_DEAD_LETTER_BYTES], _user_id(raw), fetch, error.kind)


def _user_id(raw: bytes) -> str | None:
    try:
        return _login.decode(raw).login.uuid
    except UNREADABLE:
        return None
