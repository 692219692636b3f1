"""
Finding users in MongoDB: by country, gender, age and time, the newest first, a page at a time; and one user's card.

A page begins where the one before it ended, by `fetched_at` and `_id`, in the order of an index: nothing is skipped
over. The embedded document server has indexes but does not use them: there each search reads every user.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from pymongo.database import Database

from dashboard.queries import ContractBroken, Document, masked
from services.contract import USERS as TOPIC
from spark.contract import FORGOTTEN_AT, USERS

PAGE = 25
LONGEST_S = 25.0  # a search may take so long, where all users have to be read
EVER = datetime(1970, 1, 1, tzinfo=UTC)
FIELDS = {"name.first": 1, "name.last": 1, "location.country": 1, "gender": 1, "dob.age": 1, "fetched_at": 1}
CARD = {**FIELDS, "nat": 1, "appended_at": 1, "stored_at": 1, "topic": 1, "trace_id": 1, FORGOTTEN_AT: 1}
PERSONAL = ("name", "email", "username", "phone", "cell", "location", "dob")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Wanted:
    """Who is looked for; what is empty or None is any."""

    country: str = ""
    gender: str = ""
    youngest: int = 0
    oldest: int = 150
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Place:
    """A user's place in the order, and on which side of it to look."""

    fetched_at: datetime
    user_id: str
    towards: Literal["older", "newer"] = "older"

    def text(self) -> str:
        return f"{self.towards}~{self.fetched_at.isoformat()}~{self.user_id}"


@dataclass(frozen=True)
class Found:
    """A user as a list may show one: the name is masked."""

    user_id: str
    name: str
    country: str
    gender: str
    age: int
    fetched_at: datetime


@dataclass(frozen=True)
class Page:
    """Users, the newest first, and whether there are newer and older ones."""

    users: tuple[Found, ...]
    newer: bool
    older: bool

    def next(self, towards: Literal["older", "newer"]) -> Place:
        """Where the page on that side begins."""
        edge = self.users[-1 if towards == "older" else 0]
        return Place(edge.fetched_at, edge.user_id, towards)


@dataclass(frozen=True)
class Card:
    """One user, masked, and when each store had the user; of one who was forgotten, only that."""

    user: Found | None
    nationality: str = ""
    appended_at: datetime | None = None
    stored_at: datetime | None = None
    place: str = ""
    trace_id: str = ""
    forgotten_at: datetime | None = None


def placed(text: str) -> Place | None:
    """A place as an address has it; None of what is none."""
    towards, _, rest = text.partition("~")
    at, _, user_id = rest.partition("~")
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        return None
    if towards not in ("older", "newer") or not UUID.fullmatch(user_id) or when.tzinfo is None:
        return None
    return Place(when, user_id, "newer" if towards == "newer" else "older")


def question(wanted: Wanted, place: Place | None) -> dict[str, Any]:
    """The filter: equalities first, then a range of the indexes' order."""
    times: dict[str, datetime] = {"$gte": wanted.since or EVER}
    if wanted.until:
        times["$lt"] = wanted.until
    asked: dict[str, Any] = {"fetched_at": times}
    if wanted.country:
        asked["location.country"] = wanted.country
    if wanted.gender:
        asked["gender"] = wanted.gender
    if wanted.youngest > 0 or wanted.oldest < 150:
        asked["dob.age"] = {"$gte": wanted.youngest, "$lte": wanted.oldest}
    if place:
        beyond, edge = ("$lt", "$lte") if place.towards == "older" else ("$gt", "$gte")
        asked["$and"] = [
            {"fetched_at": {edge: place.fetched_at}}
        ]  # the index's bound, beside which the rest is a filter
        asked["$or"] = [
            {"fetched_at": {beyond: place.fetched_at}},
            {"fetched_at": place.fetched_at, "_id": {beyond: place.user_id}},
        ]
    return asked


def page(database: Database[Document], wanted: Wanted, place: Place | None) -> Page:
    """
    Read one page.

    Raises:
        ContractBroken: a document lacks a field or has one of the wrong type.
    """
    newer = place is not None and place.towards == "newer"
    order = 1 if newer else -1
    asked = database[USERS].find(
        question(wanted, place),
        FIELDS,
        sort=[("fetched_at", order), ("_id", order)],
        limit=PAGE + 1,
        max_time_ms=int(LONGEST_S * 1000),
    )
    users = [found(one) for one in asked]
    more, users = len(users) > PAGE, users[:PAGE]
    if newer:
        return Page(tuple(reversed(users)), newer=more, older=True)
    return Page(tuple(users), newer=place is not None, older=more)


def found(document: Document) -> Found:
    try:
        name = document["name"]
        return Found(
            str(document["_id"]),
            masked(name["first"], name["last"]),
            document["location"]["country"],
            document["gender"],
            int(document["dob"]["age"]),
            msgspec.convert(document["fetched_at"], datetime),
        )
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise ContractBroken(f"{USERS}: {error}") from error


def card(database: Database[Document], user_id: str) -> Card | None:
    """One user without what is personal; None if nobody has this id."""
    one = database[USERS].find_one({"_id": user_id}, CARD)
    if one is None:
        return None
    if FORGOTTEN_AT in one:
        return Card(None, forgotten_at=one[FORGOTTEN_AT])
    place = one["topic"]
    return Card(
        found(one),
        one["nat"],
        one["appended_at"],
        one["stored_at"],
        f"{TOPIC}:{place['partition']}:{place['offset']}",
        one.get("trace_id", ""),
    )


def personal(database: Database[Document], user_id: str) -> dict[str, str] | None:
    """What is personal of one user, for those who may see it; None if there is nothing."""
    one = database[USERS].find_one({"_id": user_id}, PERSONAL)
    if one is None or "name" not in one:
        return None
    where = one["location"]
    return {
        "name": f"{one['name']['title']} {one['name']['first']} {one['name']['last']}",
        "born": f"{one['dob']['date']:%Y-%m-%d}",
        "email": one["email"],
        "username": one["username"],
        "phone": f"{one['phone']} · {one['cell']}",
        "street": f"{where['street']['number']} {where['street']['name']}",
        "city": f"{where['postcode']} {where['city']}, {where['state']}",
    }


def embedded(database: Database[Document]) -> bool:
    """Whether the server is the embedded one, which reads every user for a search."""
    return "ferretdbVersion" in database.command("buildInfo")
