"""
The people of a page: the same (seed, page, nationalities) gives the same people, on every machine, for ever.

Everything about a user is drawn from SHAKE-128 of the seed, the page, the nationalities and the user's place on the
page, so that a shorter page is the beginning of a longer one. Only `age` moves, with the day that is passed in.
"""

import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from hashlib import md5, sha1, sha256, shake_128
from typing import Any

import msgspec

from services.simulator.places import NATIONS, PLACES, Nation, latin

User = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BORN = (-800_000_000, 991_080_000)  # seconds: from 1944 to 2001, as the API's own
_REGISTERED = (1_016_688_461, 1_653_344_189)  # seconds: 2002 to 2022, as the API's own
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SALT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ1234567890"
_WORDS = 96  # draws a user may take; the thirstiest nation takes 63
_DRAWS = struct.Struct(f"<{_WORDS}I")
_TOWNS = {nat: nation.towns() for nat, nation in PLACES.nations.items()}
_LATIN = {
    name: latin(name)
    for nation in PLACES.nations.values()
    for names in (nation.male, nation.female, nation.last)
    for name in names
}


class Dice:
    """The draws of one user, in order."""

    def __init__(self, noise: bytes) -> None:
        self._words = iter(_DRAWS.unpack(noise))

    def below(self, end: int) -> int:
        word: int = next(self._words)
        return word * end >> 32

    def between(self, bounds: tuple[int, int]) -> int:
        return bounds[0] + self.below(bounds[1] - bounds[0] + 1)

    def pick(self, items: Sequence[Any]) -> Any:
        return items[self.below(len(items))]

    def fill(self, form: str) -> str:
        """The form with a digit for every `#` and a capital for every `@`."""
        return "".join(
            str(self.below(10)) if sign == "#" else self.pick(_LETTERS) if sign == "@" else sign for sign in form
        )


def users(
    seed: str,
    page: int,
    results: int,
    nationalities: tuple[str, ...] = (),
    *,
    today: date,
    gender: str | None = None,
) -> list[User]:
    """
    Return the first `results` users of the page, each as the API's JSON object; no nationalities means all of them.

    `gender` makes everyone of the page of that gender; their uuids stay the same.
    """
    key = _key(seed, page, nationalities)
    nats = nationalities or NATIONS
    return [_user(_noise(key, index, 16 + _DRAWS.size), nats, today, gender) for index in range(results)]


def ids(seed: str, page: int, results: int, nationalities: tuple[str, ...] = ()) -> list[str]:
    """Return the `login.uuid` of those users alone, in order and many times faster."""
    key = _key(seed, page, nationalities)
    return [_uuid(_noise(key, index, 16)) for index in range(results)]


def _key(seed: str, page: int, nationalities: tuple[str, ...]) -> bytes:
    return msgspec.json.encode((seed, page, nationalities))


def _noise(key: bytes, index: int, size: int) -> bytes:
    return shake_128(key + index.to_bytes(4, "big")).digest(size)


def _uuid(noise: bytes) -> str:
    """A version 4 UUID of the first 16 bytes."""
    digits = noise[:16].hex()
    variant = "89ab"[noise[8] & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _user(noise: bytes, nats: tuple[str, ...], today: date, gender: str | None) -> User:
    dice = Dice(noise[16:])
    nat: str = dice.pick(nats)
    nation = PLACES.nations[nat]
    drawn = dice.pick(("male", "female"))
    male = (gender or drawn) == "male"
    first = dice.pick(nation.male if male else nation.female)
    last = dice.pick(nation.last)
    born = _moment(dice, _BORN)
    registered = _moment(dice, _REGISTERED)
    return {
        "gender": "male" if male else "female",
        "name": {"title": nation.titles[0] if male else dice.pick(nation.titles[1:]), "first": first, "last": last},
        "location": _location(dice, nat, nation),
        "email": f"{_LATIN[first]}.{_LATIN[last]}@example.com",
        "login": _login(dice, _uuid(noise)),
        "dob": {"date": _iso(born), "age": _years(born, today)},
        "registered": {"date": _iso(registered), "age": _years(registered, today)},
        "phone": dice.fill(nation.phone),
        "cell": dice.fill(nation.cell),
        "id": _document(dice, nation, born, male),
        "picture": _picture("men" if male else "women", dice.below(100 if male else 97)),
        "nat": nat,
    }


def _location(dice: Dice, nat: str, nation: Nation) -> User:
    city, state = dice.pick(_TOWNS[nat])
    offset, description = dice.pick(PLACES.timezones)
    postcode = nation.postcode
    return {
        "street": {"number": dice.between((1, 9999)), "name": dice.pick(nation.streets)},
        "city": city,
        "state": state,
        "country": nation.country,
        "postcode": dice.fill(postcode) if isinstance(postcode, str) else dice.between(postcode),
        "coordinates": {
            "latitude": f"{dice.between((-900_000, 900_000)) / 10_000:.4f}",
            "longitude": f"{dice.between((-1_800_000, 1_800_000)) / 10_000:.4f}",
        },
        "timezone": {"offset": offset, "description": description},
    }


def _login(dice: Dice, uuid: str) -> User:
    """Usernames clash as the API's do: the first time near 900 users."""
    password: str = dice.pick(PLACES.passwords)
    salt = "".join(dice.pick(_SALT) for _ in range(8))
    hidden = (password + salt).encode()
    return {
        "uuid": uuid,
        "username": f"{dice.pick(PLACES.colours)}{dice.pick(PLACES.animals)}{dice.between((100, 999))}",
        "password": password,
        "salt": salt,
        "md5": md5(hidden, usedforsecurity=False).hexdigest(),
        "sha1": sha1(hidden, usedforsecurity=False).hexdigest(),
        "sha256": sha256(hidden).hexdigest(),
    }


def _document(dice: Dice, nation: Nation, born: datetime, male: bool) -> User:
    name, form = nation.document
    if form is None:
        return {"name": name, "value": None}
    own = form.format(yy=f"{born:%y}", mm=f"{born.month:02}", dd=f"{born.day:02}", sex=1 if male else 2)
    return {"name": name, "value": dice.fill(own)}


def _picture(folder: str, number: int) -> User:
    base = "https://randomuser.me/api/portraits"
    return {
        "large": f"{base}/{folder}/{number}.jpg",
        "medium": f"{base}/med/{folder}/{number}.jpg",
        "thumbnail": f"{base}/thumb/{folder}/{number}.jpg",
    }


def _moment(dice: Dice, bounds: tuple[int, int]) -> datetime:
    return _EPOCH + timedelta(seconds=dice.between(bounds), milliseconds=dice.below(1000))


def _iso(moment: datetime) -> str:
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"


def _years(since: datetime, today: date) -> int:
    return today.year - since.year - ((today.month, today.day) < (since.month, since.day))
