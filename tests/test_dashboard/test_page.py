"""The users' page itself, as Streamlit runs it, for each state of the stores."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic

import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import app
from dashboard.queries import Count, Newest, NewUser, Sums, Totals
from dashboard.stores import Down, Reading, Stores

PAGE = app.__file__
DOWN = {
    "Cassandra": Down("Cassandra", "a:1", "no answer within 2 s", datetime.now(UTC)),
    "MongoDB": Down("MongoDB", "a:2", "no answer within 2 s", datetime.now(UTC)),
}


def page(monkeypatch, said: Reading | None = None) -> AppTest:
    """The page over this reading; over real stores that are not there if none is given."""
    if said is not None:
        monkeypatch.setattr(Stores, "read", lambda self: said)
    return AppTest.from_file(PAGE, default_timeout=10).run()


def full(newest: datetime) -> Reading:
    totals = Totals(12_345, 500_000, (Count("Spain", 12_345),), (Count("female", 12_345),), (Count("30", 12_345),))
    minutes = {newest.replace(second=0, microsecond=0): 50}
    user = NewUser("Ana L.", "Spain", "female", 41, newest, newest)
    return Reading(Sums(totals, Totals(), minutes, newest), Newest((user,)), 12_340)


def figures(shown: AppTest) -> list[str]:
    return [metric.value for metric in shown.metric]


def test_with_both_stores_gone_the_page_says_so_twice_within_six_seconds(monkeypatch):
    with monkeypatch.context() as first:
        page(first, full(datetime.now(UTC)))  # what a page imports is imported once
    st.cache_resource.clear()
    started = monotonic()
    shown = page(monkeypatch)
    assert monotonic() - started < 6
    assert not shown.exception
    assert [error.value.split(" at ")[0] for error in shown.error] == ["**Cassandra**", "**MongoDB**"]
    assert figures(shown) == ["—"] * 6


def test_with_users_the_page_shows_them_masked_and_counted(monkeypatch):
    shown = page(monkeypatch, full(datetime.now(UTC)))
    assert not shown.exception
    assert not shown.error
    assert not shown.warning
    assert figures(shown)[0] == "12,345"
    assert figures(shown)[-2:] == ["40.50 years", "12,340"]
    assert list(shown.dataframe[0].value["Name"]) == ["Ana L."]


def test_with_cassandra_down_the_newest_users_are_still_shown(monkeypatch):
    shown = page(monkeypatch, replace(full(datetime.now(UTC)), sums=DOWN["Cassandra"]))
    assert not shown.exception
    assert [error.value.split(" at ")[0] for error in shown.error] == ["**Cassandra**"]
    assert figures(shown) == [*["—"] * 5, "12,340"]
    assert len(shown.dataframe) == 1


def test_with_mongodb_down_the_sums_are_still_shown(monkeypatch):
    shown = page(monkeypatch, replace(full(datetime.now(UTC)), newest=DOWN["MongoDB"], stored=DOWN["MongoDB"]))
    assert not shown.exception
    assert [error.value.split(" at ")[0] for error in shown.error] == ["**MongoDB**"]
    assert (figures(shown)[0], figures(shown)[-1]) == ("12,345", "—")


def test_with_no_users_the_page_asks_whether_ingest_runs(monkeypatch):
    shown = page(monkeypatch, Reading(Sums(Totals(), Totals(), {}, None), Newest(()), 0))
    assert not shown.exception
    assert [info.value for info in shown.info] == ["No users yet: is ingest running? `make status` tells."] * 2


def test_with_old_users_the_page_says_since_when(monkeypatch):
    shown = page(monkeypatch, full(datetime.now(UTC) - timedelta(minutes=5)))
    assert not shown.exception
    assert shown.warning[0].value.startswith("No new user since ")


def test_the_period_is_chosen_without_leaving_the_page(monkeypatch):
    shown = page(monkeypatch, full(datetime.now(UTC)))
    shown.segmented_control(key="period").set_value("today").run()
    assert not shown.exception
    assert "No users yet today." in [caption.value for caption in shown.caption]


def test_a_trend_is_told_against_the_minute_the_hour_and_the_day_before(monkeypatch):
    now = datetime.now(UTC)
    minute = now.replace(second=0, microsecond=0)
    minutes = {minute - timedelta(minutes=back): users for back, users in ((1, 30), (2, 20), (70, 25))}
    sums = replace(full(now).sums, minutes=minutes, today=Totals(users=90), yesterday=100)
    shown = page(monkeypatch, replace(full(now), sums=sums))
    assert [metric.delta for metric in shown.metric][1:4] in (
        ["+50.0%", "+100.0%", "-10.0%"],
        [
            "-33.3%",
            "+100.0%",
            "-10.0%",
        ],  # a minute on
    )


def test_while_paused_what_was_there_stays_and_says_since_when(monkeypatch):
    shown = page(monkeypatch, full(datetime.now(UTC)))
    shown.toggle(key="paused").set_value(True).run()
    st.cache_resource.clear()
    monkeypatch.setattr(Stores, "read", lambda self: replace(full(datetime.now(UTC)), stored=99_999))
    shown.run()
    assert "Paused at " in " ".join(badges(shown))
    assert figures(shown)[-1] == "12,340"
    shown.toggle(key="paused").set_value(False).run()
    assert "Paused at " not in " ".join(badges(shown))
    assert figures(shown)[-1] == "99,999"


def badges(shown: AppTest) -> list[str]:
    return [markdown.value for markdown in shown.markdown if "-badge[" in markdown.value]


def test_the_page_is_french_where_that_is_chosen(monkeypatch):
    monkeypatch.setattr(Stores, "read", lambda self: full(datetime.now(UTC)))
    shown = AppTest.from_file(PAGE, default_timeout=10)
    shown.query_params["lang"] = "fr"
    shown.run()
    assert not shown.exception
    assert shown.title[0].value == "Utilisateurs, en direct"
    assert figures(shown)[0] == "12\u202f345"
    assert list(shown.dataframe[0].value["Pays"]) == ["Espagne"]


def test_a_wrong_setting_is_named_on_the_page(monkeypatch):
    monkeypatch.setenv("VIGIE_CASSANDRA_PORT", "many")
    shown = AppTest.from_file(PAGE, default_timeout=10).run()
    assert not shown.exception
    assert "VIGIE_CASSANDRA_PORT" in shown.error[0].value
