"""A runbook of docs/runbooks, by the name in the address: what an alert's link leads to, without the internet."""

from pathlib import Path

import streamlit as st

from dashboard.views import plain
from dashboard.words import say
from observability import settings

RUNBOOKS = settings.ROOT / "docs" / "runbooks"


def found(folder: Path, name: str) -> str | None:
    """The runbook's text; None if the folder has none of that name."""
    return next((file.read_text() for file in folder.glob("*.md") if file.stem == name), None)


def main() -> None:
    """The page."""
    name = st.query_params.get("name", "")
    text = found(RUNBOOKS, name)
    if text is None:
        st.info(
            say("There is no runbook named {name} in `docs/runbooks`.", name=plain(name)), icon=":material/menu_book:"
        )
    else:
        st.markdown(text)
    st.page_link("operations.py", label=say("Back to operations"), icon=":material/arrow_back:")


if __name__ == "__main__":
    main()
