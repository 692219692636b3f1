"""A page's choices in its address, so that a link opens what its sender saw: values, not what they are called."""

from collections.abc import Callable
from datetime import date

import streamlit as st

from dashboard.words import say

FIRST, LAST = "first", "last"
MANY, LONG = 30, 100  # of what a link may bring: values of one choice, letters of a value


def start(key: str, default: str, fits: Callable[[str], object]) -> None:
    """Set a widget that has no value yet by the address, if what that says `fits`."""
    if key not in st.session_state:
        asked = st.query_params.get(key, default)
        st.session_state[key] = asked if fits(asked) else default


def start_many(key: str, fits: Callable[[str], object] = bool) -> None:
    """Set a widget of several values that has none yet by the address, as far as what that says `fits`."""
    if key not in st.session_state:
        st.session_state[key] = [value[:LONG] for value in st.query_params.get_all(key)[:MANY] if fits(value)]


def keep(key: str, value: str | list[str], default: str | list[str]) -> None:
    """Write a choice into the address; one that nobody made is not written."""
    if value == default:
        if key in st.query_params:
            del st.query_params[key]
    elif st.query_params.get_all(key) != ([value] if isinstance(value, str) else value):
        st.query_params[key] = value


def choose_days(today: date, on_change: Callable[[], None] | None = None) -> tuple[date, date]:
    """The first and the last day of a time of one's own."""
    found = []
    for key, label in ((FIRST, say("First day (UTC)")), (LAST, say("Last day (UTC)"))):
        if key not in st.session_state:
            st.session_state[key] = as_date(st.query_params.get(key, ""), today)
        day = st.date_input(
            label, key=key, on_change=on_change, max_value=today, format="YYYY-MM-DD", required=True, width=160
        )
        found.append(day)
    return found[0], found[1]


def keep_days(first: date | None, last: date | None) -> None:
    """Write them into the address, or take them out of it."""
    for key, one in ((FIRST, first), (LAST, last)):
        keep(key, one.isoformat() if one else "", "")


def as_date(text: str, latest: date) -> date:
    """The day that a link says; the latest there can be, if that is none or lies beyond."""
    try:
        return min(date.fromisoformat(text), latest)
    except ValueError:
        return latest
