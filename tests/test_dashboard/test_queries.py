from collections import namedtuple
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.cross import Tally
from dashboard.queries import ContractBroken, Count, Totals, first_minute, masked, newcomers, summarised
from spark.contract import NEWEST

Row = namedtuple("Row", "dimension value users age_sum")
NOON = datetime(2026, 11, 24, 12, 3, 7, tzinfo=UTC)


def user(n: int, **changes):
    return {
        "user_id": f"u{n}",
        "first": "Ana",
        "last": "Lopez",
        "country": "Spain",
        "gender": "female",
        "age": 41,
        "fetched_at": NOON + timedelta(seconds=n),
        "stored_at": NOON + timedelta(seconds=n + 1),
    } | changes


@pytest.mark.parametrize(
    ("first", "last", "shown"),
    [
        ("Ana", "Lopez", "Ana L."),
        ("Ana", "X", "Ana •"),
        ("Ana", " 李 ", "Ana •"),
        ("Ana", "", "Ana •"),
        ("", "Li", "L."),
    ],
)
def test_a_name_is_shown_as_first_name_and_initial(first, last, shown):
    assert masked(first, last) == shown


@given(st.text(), st.text(alphabet=st.characters(categories=["L"]), min_size=1))
def test_a_masked_name_never_holds_the_last_name(first, last):
    assert last not in masked(first, last).removeprefix(first.strip())


def test_the_newest_of_all_partitions_come_first_and_each_user_once():
    partitions = [{"users": [user(1), user(4)]}, {"users": [user(2), user(3), user(4)]}]
    assert [shown.fetched_at.second for shown in newcomers(partitions)] == [11, 10, 9, 8]


def test_no_more_users_are_shown_than_the_contract_keeps():
    assert len(newcomers([{"users": [user(n) for n in range(NEWEST + 5)]}])) == NEWEST


def test_nothing_is_shown_of_an_empty_store():
    assert newcomers([]) == ()


@pytest.mark.parametrize("document", [{}, {"users": [{"user_id": "u1"}]}, {"users": [user(1, age="secret")]}])
def test_a_document_that_breaks_the_contract_is_named_without_its_values(document):
    with pytest.raises(ContractBroken, match="newest: ") as broken:
        newcomers([document])
    assert "secret" not in str(broken.value)


def test_totals_are_gathered_by_dimension_largest_country_first_and_ages_in_order():
    rows = [
        Row("age", "100", 1, 101),
        Row("age", "30", 4, 140),
        Row("all", "all", 5, 241),
        Row("country", "France", 2, 60),
        Row("country", "Spain", 3, 181),
        Row("gender", "male", 2, 60),
        Row("gender", "female", 3, 181),
        Row("nationality", "FR", 2, 60),
        Row("nationality", "ES", 3, 181),
        Row("country|gender|age|nationality", "Spain|female|30|ES", 3, 181),
        Row("country|gender|age|nationality", "France|male|30|FR", 2, 60),
    ]
    assert summarised(rows) == Totals(
        users=5,
        age_sum=241,
        countries=(Count("Spain", 3), Count("France", 2)),
        genders=(Count("female", 3), Count("male", 2)),
        ages=(Count("30", 4), Count("100", 1)),
        nationalities=(Count("ES", 3), Count("FR", 2)),
        crossed={("Spain", "female", "30", "ES"): Tally(3, 181), ("France", "male", "30", "FR"): Tally(2, 60)},
    )


def test_an_empty_period_has_no_users():
    assert summarised([]) == Totals()


def test_sixty_minutes_end_with_the_running_one_also_over_midnight():
    assert first_minute(NOON) == datetime(2026, 11, 24, 11, 4, tzinfo=UTC)
    assert first_minute(NOON.replace(hour=0)) == datetime(2026, 11, 23, 23, 4, tzinfo=UTC)
