"""The way in: telemetry, the tab, and which page is shown. Streamlit runs this before each page."""

import streamlit as st

from dashboard import process
from observability import settings

ICON = (  # drawn here: Streamlit fetches emoji and named icons for the tab from the internet
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6" fill="none" '
    'stroke="#0072B2" stroke-width="2"/><circle cx="8" cy="8" r="2" fill="#0072B2"/></svg>'
)


def main() -> None:
    """Show the page that the address names; the users' page without one."""
    page = st.navigation(
        [
            st.Page("live.py", title="Users, live", default=True),
            st.Page("operations.py", title="Operations", url_path="operations"),
            st.Page("runbook.py", title="Runbook", url_path="runbook", visibility="hidden"),
        ],
        position="top",
    )
    st.set_page_config(page_title=f"Vigie: {page.title.lower()}", page_icon=ICON, layout="wide")
    try:
        process.start(settings.environ())
    except settings.WrongSetting as error:
        st.error(f"A setting is wrong: {error}", icon=":material/settings:")
        return
    page.run()


if __name__ == "__main__":
    main()
