"""What the people of each of the 21 nations are called and where they live; read from places.json once."""

import re
import unicodedata
from importlib.resources import files

import msgspec

# Letters that Unicode does not take apart into a Latin letter and an accent.
_LETTERS = {
    **dict(zip("øæœðđþßłı", ["o", "ae", "oe", "d", "d", "th", "ss", "l", "i"], strict=True)),
    **dict(zip("абвгґдезиіклмнопрстуф", "abvhgdezyiklmnoprstuf", strict=True)),
    **dict(zip("єжїйхцчшщюяы", ["ye", "zh", "yi", "y", "kh", "ts", "ch", "sh", "shch", "yu", "ya", "y"], strict=True)),
    **dict(zip("ابپتجچحدذرزسصضطظعفقکگلمنوهیآ", "abptjchdzrzsszttafqkglmnvhya", strict=True)),
    **dict(zip("خشغث", ["kh", "sh", "gh", "s"], strict=True)),
}


class Nation(msgspec.Struct, frozen=True):
    """
    One nation's names, places and forms.

    In a form `#` stands for a digit and `@` for a capital letter; `postcode` is a form, or the bounds of an integer.
    `document` is the kind of the identity document and the form of its number, where {yy} {mm} {dd} {sex} are the
    holder's own, or no number at all.
    """

    country: str
    titles: tuple[str, ...]
    male: tuple[str, ...]
    female: tuple[str, ...]
    last: tuple[str, ...]
    cities: dict[str, tuple[str, ...]]
    streets: tuple[str, ...]
    postcode: tuple[int, int] | str
    phone: str
    cell: str
    document: tuple[str, str | None]

    def towns(self) -> tuple[tuple[str, str], ...]:
        """Every city with the state it lies in."""
        return tuple((city, state) for state, cities in self.cities.items() for city in cities)


class Places(msgspec.Struct, frozen=True):
    """places.json: the nations by their two letters, and what does not depend on a nation."""

    timezones: tuple[tuple[str, str], ...]
    colours: tuple[str, ...]
    animals: tuple[str, ...]
    passwords: tuple[str, ...]
    nations: dict[str, Nation]


def latin(name: str) -> str:
    """The name as it stands in an e-mail address: lower-case ASCII letters, digits and hyphens."""
    spelled = "".join(_LETTERS.get(letter, letter) for letter in name.lower())
    return re.sub(r"[^a-z0-9-]", "", unicodedata.normalize("NFKD", spelled))


PLACES = msgspec.json.decode((files(__package__) / "places.json").read_bytes(), type=Places)
NATIONS = tuple(PLACES.nations)
