"""
The API's own rules: a query string becomes a page of users, a page becomes bytes; what is wrong is silently corrected.

A wrong `results` is 1, a wrong `page` is 1, one unknown nation drops the filter, an unknown field or key is ignored and
of repeated keys the last wins. YAML answers indented JSON, which every YAML 1.2 reader reads.
"""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import msgspec

from services.simulator import people
from services.simulator.people import User
from services.simulator.places import NATIONS

PATHS = ("/api", "/api/", "/api/1.4", "/api/1.4/")
VERSION = "1.4"
FIELDS = (
    "gender",
    "name",
    "location",
    "email",
    "login",
    "dob",
    "registered",
    "phone",
    "cell",
    "id",
    "picture",
    "nat",
)
FORMATS = {  # and the content type of each
    "json": "application/json; charset=utf-8",
    "pretty": "application/json; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "yaml": "text/x-yaml; charset=utf-8",
    "xml": "text/xml; charset=utf-8",
}
TOO_MANY = (
    "Whoa, ease up there cowboy. You've requested {users} users in the last minute. "
    "Help us keep this service free and spare some bandwidth for other users please :)"
)
OUTAGE = "Uh oh, something has gone wrong. Please tweet us @randomapi about the issue. Thank you."

Page = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """What a request asks for, after the API's silent corrections; `gender` is None where both are wanted."""

    seed: str
    page: int
    results: int
    nationalities: tuple[str, ...]
    gender: str | None
    fields: tuple[str, ...]
    format: str
    info: bool


def parse(query: str, fresh_seed: str) -> Query:
    """Read a query string; `fresh_seed` is the seed of a request that names none."""
    asked = dict(parse_qsl(query, keep_blank_values=True, errors="replace"))
    seed, gender, form = asked.get("seed", ""), asked.get("gender"), asked.get("format", "").lower()
    return Query(
        seed=seed or fresh_seed,
        page=_number(asked.get("page", ""), 10_000),
        results=_number(asked.get("results", ""), 5_000),
        nationalities=_nationalities(asked.get("nat", "")),
        gender=gender if gender in ("male", "female") and not seed else None,
        fields=_fields(asked.get("inc", ""), asked.get("exc", "")),
        format=form if form in FORMATS else "json",
        info="noinfo" not in asked,
    )


def _number(text: str, largest: int) -> int:
    number = int(text) if re.fullmatch(r"\s*[0-9]{1,9}\s*", text) else 1
    return number if 1 <= number <= largest else 1


def _nationalities(text: str) -> tuple[str, ...]:
    nats = tuple(nat.upper() for nat in text.split(",") if nat)
    return nats if set(nats) <= set(NATIONS) else ()


def _fields(inc: str, exc: str) -> tuple[str, ...]:
    included = _names(inc) if inc else set(FIELDS)
    return tuple(field for field in FIELDS if field in included - _names(exc))


def _names(text: str) -> set[str]:
    return {name.strip().lower() for name in text.split(",")}


def page(query: Query, today: date) -> Page:
    """The page that the query asks for, with ages as of `today`: results, and info unless it is not wanted."""
    everyone = people.users(
        query.seed, query.page, query.results, query.nationalities, today=today, gender=query.gender
    )
    kept = everyone if query.fields == FIELDS else [{key: user[key] for key in query.fields} for user in everyone]
    info = {"seed": query.seed, "results": query.results, "page": query.page, "version": VERSION}
    return {"results": kept, "info": info} if query.info else {"results": kept}


def encode(reply: Page, form: str) -> bytes:
    """The page in one of FORMATS, as UTF-8; CSV holds the users alone."""
    if form == "csv":
        return _csv(reply["results"])
    if form == "xml":
        return _xml("user", reply)
    body = msgspec.json.encode(reply)
    return body if form == "json" else msgspec.json.format(body, indent=2)


def error(sentence: str) -> bytes:
    """The JSON body of the API's errors."""
    return msgspec.json.encode({"error": sentence})


def _csv(rows: list[User]) -> bytes:
    flat = [dict(_flat(row)) for row in rows]
    columns = dict.fromkeys(column for row in flat for column in row)
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(columns))
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue().encode()


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The leaves under their dotted names: `dob.age`."""
    leaves: list[tuple[str, Any]] = []
    for key, inner in value.items():
        name = f"{prefix}{key}"
        leaves += _flat(inner, f"{name}.") if isinstance(inner, Mapping) else [(name, inner)]
    return leaves


def _xml(tag: str, value: Any) -> bytes:
    document: bytes = ElementTree.tostring(_element(tag, value), encoding="utf-8", xml_declaration=True)
    return document


def _element(tag: str, value: Any) -> ElementTree.Element:
    """A list is its tag once for each item; null is an empty element."""
    element = ElementTree.Element(tag)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            element.extend(_element(key, item) for item in (inner if isinstance(inner, list) else [inner]))
    elif value is not None:
        element.text = str(value)
    return element
