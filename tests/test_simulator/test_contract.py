"""The contract of the Random User API, against a simulator, or against what VIGIE_CONTRACT_URL names."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import md5, sha1, sha256
from typing import Annotated, Any, Literal
from xml.etree import ElementTree

import msgspec
import pytest
import requests

NATIONS = {
    "AU": "Australia",
    "BR": "Brazil",
    "CA": "Canada",
    "CH": "Switzerland",
    "DE": "Germany",
    "DK": "Denmark",
    "ES": "Spain",
    "FI": "Finland",
    "FR": "France",
    "GB": "United Kingdom",
    "IE": "Ireland",
    "IN": "India",
    "IR": "Iran",
    "MX": "Mexico",
    "NL": "Netherlands",
    "NO": "Norway",
    "NZ": "New Zealand",
    "RS": "Serbia",
    "TR": "Turkey",
    "UA": "Ukraine",
    "US": "United States",
}
FIELDS = ["gender", "name", "location", "email", "login", "dob", "registered", "phone", "cell", "id", "picture", "nat"]

Text = Annotated[str, msgspec.Meta(min_length=1)]
Decimal = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,3}\.[0-9]+\Z")]
Moment = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z")]
Age = Annotated[int, msgspec.Meta(ge=0, le=120)]
Url = Annotated[str, msgspec.Meta(pattern=r"^https://[^ ]+\.jpg\Z")]


def hexadecimal(length: int) -> Any:
    return Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{{length}}}\Z")]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Name(Strict):
    title: Text
    first: Text
    last: Text


class Street(Strict):
    number: int
    name: Text


class Coordinates(Strict):
    latitude: Decimal
    longitude: Decimal


class Timezone(Strict):
    offset: Annotated[str, msgspec.Meta(pattern=r"^[+-]?[0-9]{1,2}:[0-9]{2}\Z")]
    description: Text


class Location(Strict):
    street: Street
    city: Text
    state: Text
    country: Text
    postcode: int | str
    coordinates: Coordinates
    timezone: Timezone


class Login(Strict):
    uuid: Annotated[
        str, msgspec.Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
    ]
    username: Text
    password: Text
    salt: Text
    md5: hexadecimal(32)
    sha1: hexadecimal(40)
    sha256: hexadecimal(64)


class Dated(Strict):
    date: Moment
    age: Age


class Document(Strict):
    name: str
    value: str | None


class Picture(Strict):
    large: Url
    medium: Url
    thumbnail: Url


class User(Strict):
    gender: Literal["male", "female"]
    name: Name
    location: Location
    email: Annotated[str, msgspec.Meta(pattern=r"^[^@ ]+\.[^@ ]+@example\.com\Z")]
    login: Login
    dob: Dated
    registered: Dated
    phone: Text
    cell: Text
    id: Document
    picture: Picture
    nat: Literal[tuple(NATIONS)]


class Info(Strict):
    seed: str
    results: int
    page: int
    version: Literal["1.4"]


class Reply(Strict):
    results: list[User]
    info: Info


@pytest.fixture
def get(source_url: str) -> Callable[..., requests.Response]:
    return lambda query="", path="": requests.get(f"{source_url}{path}?{query}", timeout=30)


def ids(response: requests.Response) -> list[str]:
    return [user["login"]["uuid"] for user in response.json()["results"]]


def years(text: str, today: datetime) -> int:
    moment = datetime.fromisoformat(text)
    return today.year - moment.year - ((today.month, today.day) < (moment.month, moment.day))


@pytest.mark.parametrize("nat", NATIONS)
def test_every_user_of_a_nation_keeps_every_rule(get, nat):
    response = get(f"seed=vigie&results=20&nat={nat}")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    users = msgspec.json.decode(response.content, type=Reply).results
    assert len(users) == 20
    for user in users:
        assert (user.nat, user.location.country) == (nat, NATIONS[nat])
        assert isinstance(user.location.postcode, str if nat in ("CA", "GB", "NO") else int)
        assert (user.id.value is None) == (nat in ("IR", "NZ", "TR", "UA"))
        assert (user.id.name == "") == (user.id.value is None)
        hidden = (user.login.password + user.login.salt).encode()
        digests = [digest(hidden).hexdigest() for digest in (md5, sha1, sha256)]
        assert [user.login.md5, user.login.sha1, user.login.sha256] == digests
        now = datetime.now(UTC)
        for dated in (user.dob, user.registered):
            assert abs(dated.age - years(dated.date, now)) <= 1  # the server's midnight is not ours
    assert {user.gender for user in users} == {"male", "female"}


@pytest.mark.parametrize(
    ("nat", "letters"), [("IR", "\u0600-\u06ff"), ("UA", "\u0400-\u04ff"), ("TR", "ğışçöüİŞÇÖÜ"), ("FR", "éèêëïîçÉÈ")]
)
def test_names_are_written_in_the_nations_own_letters(get, nat, letters):
    names = "".join(
        user["name"]["first"] + user["name"]["last"] for user in _users(get, f"seed=a&results=50&nat={nat}")
    )
    assert set(names) & _span(letters)


def _users(get: Callable[..., requests.Response], query: str) -> list[dict[str, Any]]:
    return get(query).json()["results"]


def _span(letters: str) -> set[str]:
    first, dash, last = letters.partition("-")
    return {chr(code) for code in range(ord(first), ord(last) + 1)} if dash else set(letters)


@pytest.mark.parametrize("results", ["0", "-1", "5001", "abc", "", "1.5", "99999999999999999999"])
def test_a_wrong_number_of_results_gives_one_user(get, results):
    reply = get(f"results={results}").json()
    assert (len(reply["results"]), reply["info"]["results"]) == (1, 1)


def test_5000_results_are_the_most(get, heavy):
    assert len(_users(get, "results=5000&inc=nat")) == 5000


@pytest.mark.parametrize("page", ["0", "-3", "10001", "abc", ""])
def test_a_wrong_page_is_the_first(get, page):
    wrong, first = get(f"seed=vigie&page={page}"), get("seed=vigie&page=1")
    assert (wrong.json()["info"]["page"], ids(wrong)) == (1, ids(first))


def test_the_last_page_is_page_10000(get):
    assert get("seed=vigie&page=10000").json()["info"]["page"] == 10000


def test_the_same_seed_and_page_give_the_same_users(get):
    once, again = get("seed=vigie&page=3&results=10"), get("seed=vigie&page=3&results=10")
    assert once.json()["results"] == again.json()["results"]
    assert once.json()["info"] == {"seed": "vigie", "results": 10, "page": 3, "version": "1.4"}


def test_another_page_or_another_seed_gives_other_users(get):
    pages = [ids(get(f"seed={seed}&page={page}&results=10")) for seed in ("vigie", "mast") for page in (1, 2, 3)]
    assert len({uuid for page in pages for uuid in page}) == 60


def test_a_shorter_page_is_the_beginning_of_a_longer_one(get):
    assert ids(get("seed=vigie&results=5")) == ids(get("seed=vigie&results=20"))[:5]


def test_without_a_seed_the_server_makes_one_that_gives_the_same_users_again(get):
    fresh = get("results=3")
    seed = fresh.json()["info"]["seed"]
    assert len(seed) == 16
    assert int(seed, 16) >= 0
    assert ids(get(f"seed={seed}&results=3")) == ids(fresh)


def test_an_empty_seed_is_none(get):
    assert len(get("seed=").json()["info"]["seed"]) == 16


def test_a_gender_is_kept_without_a_seed_and_ignored_with_one(get):
    assert {user["gender"] for user in _users(get, "gender=female&results=30")} == {"female"}
    assert {user["gender"] for user in _users(get, "gender=male&results=30")} == {"male"}
    assert {user["gender"] for user in _users(get, "gender=female&seed=vigie&results=50")} == {"male", "female"}
    assert {user["gender"] for user in _users(get, "gender=other&results=50")} == {"male", "female"}


@pytest.mark.parametrize(("nat", "kept"), [("fr", {"FR"}), ("FR,ua", {"FR", "UA"}), ("Fr,uA,tr", {"FR", "UA", "TR"})])
def test_nations_are_a_list_in_any_case(get, nat, kept):
    assert {user["nat"] for user in _users(get, f"seed=vigie&results=60&nat={nat}")} == kept


@pytest.mark.parametrize("nat", ["FR,XX", "FR,%20UA", "%20FR", "LEG"])
def test_one_unknown_nation_or_a_blank_drops_the_whole_filter(get, nat):
    assert len({user["nat"] for user in _users(get, f"seed=vigie&results=60&nat={nat}&inc=nat")}) > 5


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("inc=name,nat", {"name", "nat"}),
        ("inc=Name,%20nat,nonsense", {"name", "nat"}),
        ("exc=login,id", set(FIELDS) - {"login", "id"}),
        ("inc=name,login&exc=login", {"name"}),
        ("inc=nonsense", set()),
        ("nonsense=1", set(FIELDS)),
    ],
)
def test_fields_are_included_and_excluded(get, query, fields):
    assert set(_users(get, f"{query}&seed=vigie")[0]) == fields


def test_a_field_has_the_same_value_whatever_else_is_included(get):
    assert _users(get, "seed=vigie&inc=email")[0]["email"] == _users(get, "seed=vigie")[0]["email"]


def test_noinfo_drops_the_info(get):
    assert list(get("noinfo").json()) == ["results"]


def test_of_a_repeated_key_the_last_wins(get):
    assert len(_users(get, "results=3&results=2")) == 2


@pytest.mark.parametrize("path", ["", "1.4", "1.4/"])
def test_the_version_may_be_pinned(get, path):
    assert ids(get("seed=vigie&results=2", path)) == ids(get("seed=vigie&results=2"))


@pytest.mark.parametrize("path", ["9.9/", "nonsense"])
def test_an_unknown_version_is_not_found_and_not_json(get, path):
    response = get(path=path)
    assert (response.status_code, response.text) == (404, "Not Found")


def test_formats_hold_the_same_users(get):
    plain, pretty = get("seed=vigie&results=2"), get("seed=vigie&results=2&format=pretty")
    assert pretty.json() == plain.json()
    assert pretty.text.startswith('{\n  "results": [\n')
    assert get("seed=vigie&results=2&format=nonsense").json() == plain.json()
    table = get("seed=vigie&results=2&format=csv")
    rows = list(csv.DictReader(io.StringIO(table.content.decode())))
    assert [row["login.uuid"] for row in rows] == ids(plain)
    assert rows[0]["location.street.number"] == str(plain.json()["results"][0]["location"]["street"]["number"])
    tree = ElementTree.fromstring(get("seed=vigie&results=2&format=xml").content)  # noqa: S314  # our own words
    assert [uuid.text for uuid in tree.findall("results/login/uuid")] == ids(plain)
    assert ids(plain)[0] in get("seed=vigie&results=2&format=yaml").text


def test_a_seed_is_any_text(get):
    response = get("seed=%D9%85%D8%AF+%22%00%26%F0%9F%9A%A2")
    assert response.json()["info"]["seed"] == 'مد "\x00&🚢'


def test_usernames_clash_and_the_uuids_do_not(get, heavy):
    logins = [user["login"] for user in _users(get, "seed=vigie&results=5000&inc=login")]
    assert len({login["username"] for login in logins}) < 5000
    assert len({login["uuid"] for login in logins}) == 5000


def test_emails_are_not_unique(get, heavy):
    emails = [user["email"] for user in _users(get, "seed=vigie&results=5000&inc=email")]
    assert len(set(emails)) < 5000


def test_users_past_the_limit_are_refused_with_the_apis_words(start, heavy):
    limited = start(VIGIE_SIMULATOR_LIMIT_USERS="10", VIGIE_SIMULATOR_LIMIT_WINDOW_S="300")
    assert [limited.get(f"results={results}").status_code for results in (9, 20)] == [200, 200]
    refused = limited.get()
    assert (refused.status_code, refused.headers.get("Retry-After")) == (429, None)
    assert refused.headers["Content-Type"] == "application/json; charset=utf-8"
    assert refused.json()["error"].startswith("Whoa, ease up there cowboy. You've requested 29 users")
    assert {**limited.journal(), "pages": None} == {
        "requests": 3,
        "limited": 1,
        "users_served": 29,
        "pages": None,
        "faults": {},
    }
