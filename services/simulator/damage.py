"""What the faults do to a page: functions that take a page or a user and return another, the first one unharmed."""

from collections.abc import Callable, Mapping
from typing import Any

from services.simulator.api import Page
from services.simulator.faults import FieldFault, MissingField, SetField, WrongType
from services.simulator.people import User

INVALID = b"\xc3\x28\xff"  # a lead byte without its follower, and a byte that UTF-8 never has
_MARK = "(vigie: bytes that are not UTF-8 stand here)"


def without(user: User, path: str) -> User:
    """The user without the field at the dotted path; the same user where it is not there."""
    head, _, rest = path.partition(".")
    if head not in user:
        return user
    if not rest:
        return {key: value for key, value in user.items() if key != head}
    return user | {head: without(user[head], rest)} if isinstance(user[head], dict) else user


def with_value(user: User, path: str, value: Any) -> User:
    """The user with this value at the dotted path."""
    head, _, rest = path.partition(".")
    inner = user.get(head)
    return user | {head: with_value(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}


def wrapped(user: User, path: str) -> User:
    """The user with the value at the dotted path in a list; the same user where it is not there."""
    value: Any = user
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return user
        value = value[key]
    return with_value(user, path, [value])


def damaged(page: Page, fault: FieldFault) -> Page:
    """The page after a field fault; raw invalid bytes are put in by `spoiled`, once it is encoded."""
    change = _change(fault)
    return page | {
        "results": [change(user) if fault.hits(index) else user for index, user in enumerate(page["results"])]
    }


def _change(fault: FieldFault) -> Callable[[User], User]:
    match fault:
        case MissingField(path=path):
            return lambda user: without(user, path)
        case WrongType(path=path):
            return lambda user: wrapped(user, path)
        case SetField(path=path, value=value):
            return lambda user: with_value(user, path, value)
        case _:
            return lambda user: with_value(user, "name.first", _MARK)


def spoiled(body: bytes) -> bytes:
    """The encoded page, with raw invalid bytes where `invalid_utf8` left its mark."""
    return body.replace(_MARK.encode(), INVALID)
