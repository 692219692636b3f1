"""French is complete, and numbers and dates are written as each language does."""

import ast
from collections import Counter
from datetime import date
from pathlib import Path
from string import Formatter

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import app, words

ROOM = Path(words.__file__).parent


def said() -> dict[str, str]:
    """Every text that is given to `say` or `word`, and where."""
    found = {}
    for file in sorted(ROOM.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and name(node.func) in ("say", "word") and node.args:
                if isinstance(node.args[0], ast.Constant):
                    found[node.args[0].value] = f"{file.name}:{node.lineno}"
                elif name(node.func) == "word" or isinstance(node.args[0], ast.JoinedStr):
                    found[ast.unparse(node.args[0])] = f"{file.name}:{node.lineno}: a text to be said is a literal"
    return found


def name(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def names(text: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(text) if field}


def test_every_text_has_its_french():
    assert {text: where for text, where in said().items() if text not in words.french()} == {}


def test_no_french_is_left_over_or_there_twice():
    keys = Counter(key for file in words.files() for key in file)
    assert sorted(keys.keys() - said().keys()) == []
    assert [key for key, n in keys.items() if n > 1] == []


def test_french_names_the_same_values():
    assert [english for english, french in words.french().items() if names(english) != names(french)] == []


@pytest.fixture
def french(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "language", lambda: words.FRENCH)


def written() -> list[str]:
    return [words.number(1_234_567), words.decimal(1234.56), words.percent(0.125), words.day(date(2026, 8, 4))]


def test_numbers_and_dates_are_english_where_nobody_has_chosen():
    assert written() == ["1,234,567", "1,234.6", "12.5%", "4 Aug 2026"]


@pytest.mark.usefixtures("french")
def test_numbers_and_dates_in_french():
    spaces = str.maketrans({words.NARROW: "_", words.HARD: "~"})
    assert [text.translate(spaces) for text in written()] == ["1_234_567", "1_234,6", "12,5~%", "4 août 2026"]
    assert words.say("A setting is wrong: {why}", why="X") == "Un réglage est faux : X"


def test_a_link_opens_in_its_language_and_the_choice_goes_into_the_address():
    shown = AppTest.from_file(app.__file__, default_timeout=20)
    shown.query_params["lang"] = "fr"
    shown.run()
    assert not shown.exception
    assert shown.segmented_control(key="lang").value == "fr"
    shown.segmented_control(key="lang").set_value("en").run()
    assert "lang" not in shown.query_params
    shown.segmented_control(key="lang").set_value("fr").run()
    assert shown.query_params["lang"] == "fr"


def test_a_language_that_is_none_is_english():
    shown = AppTest.from_file(app.__file__, default_timeout=20)
    shown.query_params["lang"] = "klingon"
    assert shown.run().segmented_control(key="lang").value == "en"
