"""The analysis page, as Streamlit runs it, for each state of Cassandra and for links."""

from datetime import UTC, datetime, timedelta

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import app, spans
from dashboard.cross import Tally
from dashboard.spans import Slice
from dashboard.stores import Cassandra, StoreDown

COUNTS = {
    ("Spain", "female", "30", "ES"): Tally(30, 1000),
    ("France", "male", "40", "FR"): Tally(10, 450),
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[spans.Span]:
    """A Cassandra that answers these counts for every day of a range; the ranges that it was asked for."""
    found: list[spans.Span] = []

    def read(_session, _statements, span):
        found.append(span)
        return tuple(Slice(datetime.combine(day, datetime.min.time(), UTC), COUNTS) for day in span.days())

    monkeypatch.setattr(Cassandra, "read", lambda self, question: question(None, None))
    monkeypatch.setattr(spans, "read", read)
    monkeypatch.setattr(spans, "newest_summed", lambda *_: datetime.now(UTC) - timedelta(minutes=5))
    return found


def page(**query: str | list[str]) -> AppTest:
    shown = AppTest.from_file(app.__file__, default_timeout=20)
    for key, value in query.items():
        shown.query_params[key] = value
    shown.switch_page("analyse.py")
    return shown.run()


def test_today_by_country_and_gender_is_shown_first(asked):
    shown = page()
    assert not shown.exception
    assert [metric.value for metric in shown.metric] == ["40", "36.25 years"]
    table = shown.dataframe[0].value
    assert list(table["Country"]) == ["Spain", "France"]
    assert list(table["Users"]) == [30, 10]
    assert asked[0].last - asked[0].first == timedelta(days=1)
    assert "5 min 0 s ago" in shown.caption[0].value  # of the newest user in the sums, not of this reading


def test_a_link_opens_the_same_view(asked):
    shown = page(rows="age", columns="none", range="7d", compare="1", of_country=["Spain"], lang="fr")
    assert not shown.exception
    assert [box.value for box in shown.selectbox] == ["age", "none", "7d"]
    assert shown.multiselect(key="of_country").value == ["Spain"]
    assert [metric.value for metric in shown.metric][:2] == ["210", "210"]
    table = shown.dataframe[0].value
    assert list(table["Âge"]) == ["30-39"]
    assert "Écart en points" in table.columns
    assert asked[1] == asked[0].before()


def test_what_is_chosen_goes_into_the_address_and_what_is_not_stays_out(asked):
    shown = page()
    shown.selectbox(key="rows").set_value("gender").run()
    shown.selectbox(key="range").set_value("days").run()
    shown.multiselect(key="of_age").set_value(["30"]).run()
    assert not shown.exception
    query = {key: shown.query_params[key] for key in shown.query_params}
    today = datetime.now(UTC).date().isoformat()
    assert {key: value if isinstance(value, str) else value[0] for key, value in query.items()} == {
        "rows": "gender",
        "range": "days",
        "first": today,
        "last": today,
        "of_age": "30",
    }


def test_a_link_that_makes_no_sense_opens_what_is_usual(asked):
    shown = page(rows="salary", columns="'; DROP", range="ever", first="yesterday", of_country=["x" * 500])
    assert not shown.exception
    assert [box.value for box in shown.selectbox] == ["country", "gender", "today"]
    assert [info.value for info in shown.info] == ["Nobody in this time under these filters."]


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("rows", "columns"), [("country", "age"), ("age", "nationality"), ("gender", "age"), ("age", "age")]
)
def test_any_two_dimensions_can_be_chosen(rows, columns):
    shown = page(rows=rows, columns=columns)
    assert not shown.exception
    assert len(shown.dataframe) == 1


def test_with_cassandra_gone_the_page_says_so_and_comes_back_by_itself(monkeypatch, asked):
    def gone(self, question):
        raise StoreDown("it cannot be read (NoHostAvailable)")

    with monkeypatch.context() as down:
        down.setattr(Cassandra, "read", gone)
        shown = page()
        assert not shown.exception
        assert [error.value.split(" at ")[0] for error in shown.error] == ["**Cassandra**"]
        assert not shown.dataframe
    st.cache_data.clear()
    shown.run()
    assert not shown.error
    assert len(shown.dataframe) == 1


def test_a_link_with_an_age_that_is_none_opens_without_it(asked):
    shown = page(of_age=["abc", "30"], of_country=["Atlantis"])
    assert not shown.exception
    assert shown.multiselect(key="of_age").value == ["30"]
    assert shown.multiselect(key="of_country").value == ["Atlantis"]
