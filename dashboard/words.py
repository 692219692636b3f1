"""
What the pages say, in the language chosen in the page: the English text is the key to `french/*.toml`.

A text that is kept first and said later (`TITLE = word("Live")`, then `say(TITLE)`) is marked by `word`. A test demands
that every text so given has its French, and that no French is left over.
"""

import threading
import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

FRENCH_FOLDER = Path(__file__).parent / "french"
ENGLISH, FRENCH = "en", "fr"
LANGUAGES = {ENGLISH: "English", FRENCH: "Français"}
CHOICE = "lang"  # the key of the choice, in the address and in the session

_run = threading.local()  # a viewer's run has its own thread, which asks for the language some 400 times

NARROW, HARD = "\u202f", "\u00a0"  # spaces at which no line breaks
MONTHS = {
    ENGLISH: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    FRENCH: ["janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."],
}
CHARTS = {  # as Vega wants it; English is its own
    "number": {
        "decimal": ",",
        "thousands": NARROW,
        "grouping": [3],
        "currency": ["", f"{HARD}€"],
        "percent": f"{HARD}%",
    },
    "time": {
        "dateTime": "%A %e %B %Y à %X",
        "date": "%d/%m/%Y",
        "time": "%H:%M:%S",
        "periods": ["", ""],
        "days": ["dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"],
        "shortDays": ["dim.", "lun.", "mar.", "mer.", "jeu.", "ven.", "sam."],
        "months": [
            "janvier",
            "février",
            "mars",
            "avril",
            "mai",
            "juin",
            "juillet",
            "août",
            "septembre",
            "octobre",
            "novembre",
            "décembre",
        ],
        "shortMonths": MONTHS[FRENCH],
    },
}


def say(text: str, **values: object) -> str:
    """The text in the viewer's language, with `{names}` replaced by these values."""
    said = french().get(text, text) if language() == FRENCH else text
    return said.format(**values) if values else said


def word(text: str) -> str:
    """The text as it is: it is said elsewhere."""
    return text


def language() -> str:
    """The viewer's; English where nobody looks."""
    known = getattr(_run, "language", None)
    if known is None:
        if get_script_run_ctx(suppress_warning=True) is None:
            return ENGLISH
        chosen = st.session_state.get(CHOICE)
        known = _run.language = chosen if chosen in LANGUAGES else ENGLISH
    return known


@cache
def french() -> Mapping[str, str]:
    """Every text's French."""
    return {english: said for file in files() for english, said in file.items()}


def files() -> list[dict[str, str]]:
    """The French texts, file by file."""
    return [tomllib.loads(file.read_text("utf-8")) for file in sorted(FRENCH_FOLDER.glob("*.toml"))]


def choice() -> None:
    """The choice of the language; a link with `?lang=fr` opens in French, and the address keeps it."""
    st.segmented_control(
        "Language · Langue", list(LANGUAGES), format_func=LANGUAGES.__getitem__, key=CHOICE, required=True
    )


def remember() -> None:
    """Bring the address and the session together: the session's choice wins, once there is one."""
    asked = st.query_params.get(CHOICE)
    chosen = _run.language = st.session_state.setdefault(CHOICE, asked if asked in LANGUAGES else ENGLISH)
    if chosen != (asked or ENGLISH):
        if chosen == ENGLISH:
            del st.query_params[CHOICE]
        else:
            st.query_params[CHOICE] = chosen


def number(count: int) -> str:
    """1,234,567 or 1 234 567."""
    return written(f"{count:,}")


def decimal(value: float, places: int = 1) -> str:
    """1,234.5 or 1 234,5."""
    return written(f"{value:,.{places}f}")


def percent(share: float, places: int = 1) -> str:
    """12.5% or 12,5 % of a share of 1."""
    return written(f"{share:.{places}%}").replace("%", f"{HARD}%" if language() == FRENCH else "%")


def day(when: date) -> str:
    """24 Nov 2026 or 24 nov. 2026."""
    return f"{when.day} {MONTHS[language()][when.month - 1]} {when.year}"


def written(english: str) -> str:
    """A number's digits with the language's own marks."""
    return english.translate(str.maketrans(",.", f"{NARROW},")) if language() == FRENCH else english


def locale() -> dict[str, Any]:
    """What a chart's `config` takes for its numbers and dates."""
    return {"locale": CHARTS} if language() == FRENCH else {}
