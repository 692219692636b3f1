"""The people of a page, as a pure function."""

import time
from datetime import date
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.simulator.people import ids, users
from services.simulator.places import NATIONS, PLACES

TODAY = date(2026, 1, 15)
PAGES = {
    "seed": st.text(max_size=20),
    "page": st.integers(1, 10_000),
    "results": st.integers(1, 30),
    "nationalities": st.lists(st.sampled_from(NATIONS), max_size=3).map(tuple),
}


def uuids(people):
    return [user["login"]["uuid"] for user in people]


def test_the_people_of_a_page_are_the_same_for_ever():
    body = msgspec.json.encode(users("vigie", 7, 500, today=TODAY))
    assert sha256(body).hexdigest() == "250699f58f4bd3677ba46e27879c0421202b1c7badc4cfed7902705b6f7db894"
    assert ids("vigie", 7, 1) == ["2834ceef-dcf2-4090-9db7-a00842b8bb11"]


@given(**PAGES)
def test_the_ids_are_those_of_the_users(seed, page, results, nationalities):
    assert ids(seed, page, results, nationalities) == uuids(users(seed, page, results, nationalities, today=TODAY))


@given(**PAGES)
def test_a_shorter_page_is_the_beginning_of_a_longer_one(seed, page, results, nationalities):
    longer = users(seed, page, results + 5, nationalities, today=TODAY)
    assert users(seed, page, results, nationalities, today=TODAY) == longer[:results]


def test_no_uuid_comes_twice_in_300000_users():
    pages = [ids(seed, page, 1000) for seed in ("vigie", "vigie1", "") for page in range(1, 101)]
    assert len({uuid for page in pages for uuid in page}) == 300_000


def test_a_page_number_does_not_run_into_the_seed():
    assert ids("vigie", 11, 5) != ids("vigie1", 1, 5)


def test_other_nationalities_are_other_people():
    assert not set(ids("vigie", 1, 100)) & set(ids("vigie", 1, 100, ("FR",)))


@pytest.mark.parametrize("nat", NATIONS)
def test_a_nation_has_names_for_a_crowd_and_its_cities_lie_in_their_states(nat):
    nation = PLACES.nations[nat]
    crowd = users("vigie", 1, 1000, (nat,), today=TODAY)
    for gender, names in (("male", nation.male), ("female", nation.female)):
        assert len(set(names)) >= 12
        assert {user["name"]["first"] for user in crowd if user["gender"] == gender} == set(names)
    assert {user["name"]["last"] for user in crowd} == set(nation.last)
    assert all(user["location"]["city"] in nation.cities[user["location"]["state"]] for user in crowd)
    assert all(user["email"].isascii() and not user["email"].startswith(".") for user in crowd)


def test_every_gender_and_nation_has_its_share():
    crowd = users("vigie", 1, 5000, today=TODAY)
    assert 0.45 < sum(user["gender"] == "male" for user in crowd) / 5000 < 0.55
    shares = [sum(user["nat"] == nat for user in crowd) / 5000 for nat in NATIONS]
    assert min(shares) > 0.5 / len(NATIONS)
    assert max(shares) < 1.5 / len(NATIONS)


def test_a_gender_that_is_wanted_leaves_the_uuids_as_they_are():
    women = users("vigie", 1, 50, today=TODAY, gender="female")
    assert {user["gender"] for user in women} == {"female"}
    assert uuids(women) == ids("vigie", 1, 50)


def test_an_age_grows_on_the_birthday_and_nothing_else_changes():
    (user,) = users("vigie", 1, 1, today=TODAY)
    born = date.fromisoformat(user["dob"]["date"][:10])
    before, on = (users("vigie", 1, 1, today=date(2026, born.month, born.day - late))[0] for late in (1, 0))
    assert (before["dob"]["age"], on["dob"]["age"]) == (2026 - born.year - 1, 2026 - born.year)
    for dated in ("dob", "registered"):
        assert before[dated]["date"] == on[dated]["date"]
    assert {**before, "dob": None, "registered": None} == {**on, "dob": None, "registered": None}


def test_thousands_of_users_are_made_in_a_second(record_property):
    start = time.process_time()
    msgspec.json.encode(users("vigie", 1, 5000, today=TODAY))
    speed = 5000 / (time.process_time() - start)
    record_property("users_per_s", round(speed))
    print(f"{speed:.0f} users/s")
    assert speed > 3000


def test_ids_are_many_times_faster_than_users():
    start = time.process_time()
    ids("vigie", 1, 100_000)
    assert 100_000 / (time.process_time() - start) > 50_000
