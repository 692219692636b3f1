"""The exploration page, as Streamlit runs it, for each state of MongoDB, for links, and for what is personal."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import app, journey, search
from dashboard.search import Card, Found, Page, Place, Wanted, placed, question
from dashboard.stores import Mongo, StoreDown
from observability import logs

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ID = "0af76519-16cd-43dd-8448-eb211c80319c"
ANA = Found(ID, "Ana L.", "Spain", "female", 41, NOW)
CARD = Card(ANA, "ES", NOW, NOW, "users.raw:1:42", "0af7651916cd43dd8448eb211c80319c")
PERSONAL = {"name": "Ms Ana Lopez", "email": "ana.lopez@example.com"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Wanted, Place | None]]:
    """A MongoDB that knows Ana; what it was asked for."""
    found: list[tuple[Wanted, Place | None]] = []

    def page(_database, wanted, place):
        found.append((wanted, place))
        return Page((ANA,), newer=place is not None, older=True)

    monkeypatch.setattr(Mongo, "read", lambda self, question: question(None))
    monkeypatch.setattr(search, "embedded", lambda _database: True)
    monkeypatch.setattr(search, "page", page)
    monkeypatch.setattr(search, "card", lambda _database, user_id: CARD if user_id == ID else None)
    monkeypatch.setattr(search, "personal", lambda _database, user_id: PERSONAL)
    monkeypatch.setattr(journey, "held", lambda _user: None)
    return found


def page(**query: str) -> AppTest:
    shown = AppTest.from_file(app.__file__, default_timeout=20)
    for key, value in query.items():
        shown.query_params[key] = value
    shown.switch_page("explore.py")
    return shown.run()


def said(shown: AppTest) -> str:
    return " ".join(markdown.value for markdown in shown.markdown)


def test_the_newest_users_are_listed_masked(asked):
    shown = page()
    assert not shown.exception
    assert list(shown.dataframe[0].value["Name"]) == ["Ana L."]
    assert asked == [(Wanted(), None)]


def test_a_link_opens_the_same_users_and_the_same_card(asked):
    place = Place(NOW, ID)
    shown = page(country="Spain", gender="female", from_age="30", to_age="50", page=place.text(), user=ID)
    assert not shown.exception
    assert asked == [(Wanted("Spain", "female", 30, 50), place)]
    assert "#### Ana L." in said(shown)
    assert "users.raw:1:42" in said(shown).replace("\\", "")


def test_older_users_begin_where_the_list_ends(asked):
    shown = page()
    shown.button(key="turn-Older").click().run()
    assert not shown.exception
    assert asked[-1] == (Wanted(), Place(NOW, ID, "older"))
    assert placed(shown.query_params["page"]) == asked[-1][1]
    shown.button(key="turn-Newest").click().run()
    assert "page" not in shown.query_params


@pytest.mark.usefixtures("asked")
def test_nothing_personal_can_be_asked_for_unless_a_setting_allows_it():
    shown = page(user=ID)
    assert not shown.exception
    assert [toggle.label for toggle in shown.toggle] == []
    assert "ana.lopez" not in said(shown)


@pytest.mark.usefixtures("asked")
def test_what_is_personal_is_shown_when_asked_for_and_that_is_written_down_without_it(monkeypatch):
    written = logging.Handler()
    lines: list[logging.LogRecord] = []
    monkeypatch.setattr(written, "emit", lines.append)
    monkeypatch.setattr(logging.getLogger("dashboard.explore"), "handlers", [written])
    monkeypatch.setenv("VIGIE_UNMASK", "1")
    shown = page(user=ID)
    assert "lopez" not in said(shown).lower()
    shown.toggle(key=f"unmask-{ID}").set_value(True).run()
    assert not shown.exception
    assert "ana.lopez" in said(shown).replace("\\", "")
    (line,) = (logs.JsonLines("dashboard").format(record) for record in lines)
    assert CARD.place in line
    assert CARD.trace_id in line
    assert "lopez" not in line.lower()
    assert ID not in line
    shown.run()
    assert len(lines) == 1
    other = AppTest.from_file(app.__file__, default_timeout=20)
    other.query_params["user"] = ID
    other.switch_page("explore.py")
    other.session_state[f"unmask-{ID}"] = True  # a session that comes with the toggle on: no change, no callback
    other.run()
    assert "ana.lopez" in said(other).replace("\\", "")
    assert len(lines) == 2


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("user", "told"),
    [("somebody", "An id looks like"), (ID.replace("0a", "ff"), "Nobody who is stored has this id.")],
)
def test_an_id_that_is_none_or_nobodys_is_told(user, told):
    shown = page()
    shown.text_input(key="user").set_value(user).run()
    assert not shown.exception
    assert shown.info[0].value.startswith(told)


@pytest.mark.usefixtures("asked")
def test_one_who_was_forgotten_is_shown_as_that_alone(monkeypatch):
    monkeypatch.setattr(search, "card", lambda _database, _id: Card(None, forgotten_at=NOW))
    shown = page(user=ID)
    assert [info.value for info in shown.info] == ["This user was forgotten on 24 Nov 2026."]


@pytest.mark.usefixtures("asked")
def test_with_mongodb_gone_the_page_says_so_and_comes_back(monkeypatch):
    def gone(self, question):
        raise StoreDown("it cannot be read (ServerSelectionTimeoutError)")

    with monkeypatch.context() as down:
        down.setattr(Mongo, "read", gone)
        shown = page()
        assert not shown.exception
        assert [error.value.split(" at ")[0] for error in shown.error] == ["**MongoDB**"]
        assert not shown.dataframe
    st.cache_data.clear()
    shown.run()
    assert not shown.error
    assert len(shown.dataframe) == 1


def test_a_question_has_equalities_and_a_range_of_the_index():
    asked = question(Wanted("Spain", "male", 30, 39, NOW, NOW + timedelta(days=1)), Place(NOW, ID))
    assert asked == {
        "fetched_at": {"$gte": NOW, "$lt": NOW + timedelta(days=1)},
        "location.country": "Spain",
        "gender": "male",
        "dob.age": {"$gte": 30, "$lte": 39},
        "$and": [{"fetched_at": {"$lte": NOW}}],
        "$or": [{"fetched_at": {"$lt": NOW}}, {"fetched_at": NOW, "_id": {"$lt": ID}}],
    }
    assert question(Wanted(), None) == {"fetched_at": {"$gte": search.EVER}}


@pytest.mark.parametrize(
    "text", ["", "older", f"older~{NOW}~x", f"sideways~{NOW.isoformat()}~{ID}", f"older~2026~{ID}", f"newer~never~{ID}"]
)
def test_a_place_that_is_none_is_the_beginning(text):
    assert placed(text) is None


def test_a_place_is_read_as_it_was_written():
    for place in (Place(NOW, ID), Place(NOW + timedelta(microseconds=1000), ID, "newer")):
        assert placed(place.text()) == place
    assert replace(Place(NOW, ID), towards="newer").text().startswith("newer~")
