"""The way in: telemetry, the language, the tab, and which page is shown. Streamlit runs this before each page."""

from urllib.parse import quote

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard import process, words
from dashboard.words import say
from observability import settings

# drawn here: Streamlit fetches emoji and named icons for the tab from the internet
ICON = "data:image/svg+xml," + quote(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6" fill="none" '
    'stroke="#0072B2" stroke-width="2"/><circle cx="8" cy="8" r="2" fill="#0072B2"/></svg>'
)


def pages() -> dict[str, list[StreamlitPage]]:
    """The pages by group, as the menu shows them; the first is shown without a name in the address."""
    return {
        say("Users"): [
            st.Page("live.py", title=say("Live"), default=True),
            st.Page("analyse.py", title=say("Analyse"), url_path="analyse"),
            st.Page("explore.py", title=say("Explore"), url_path="explore"),
        ],
        say("System"): [
            st.Page("operations.py", title=say("Operations"), url_path="operations"),
            st.Page("boards.py", title=say("Dashboards"), url_path="boards"),
            st.Page("drills.py", title=say("Drills"), url_path="drills"),
            st.Page("runbook.py", title=say("Runbook"), url_path="runbook", visibility="hidden"),
        ],
    }


def main() -> None:
    """Show the page that the address names, in the language that it or the viewer says."""
    words.remember()
    page = st.navigation(pages())
    st.set_page_config(page_title=f"Vigie: {page.title.lower()}", page_icon=ICON, layout="wide")
    with st.sidebar:
        words.choice()
    try:
        process.start(settings.environ)
    except settings.WrongSetting as error:
        st.error(say("A setting is wrong: {why}", why=error), icon=":material/settings:")
        return
    page.run()


if __name__ == "__main__":
    main()
