"""The live page: who the users are and how fast they come, how old that is and what is missing; anew every 2 s."""

from datetime import UTC, datetime, tzinfo
from typing import TypeGuard, TypeVar

import streamlit as st

from dashboard import charts, process, viewer, views
from dashboard.queries import MINUTES, Count, Newest, Sums, Totals
from dashboard.stores import COUNT_EVERY_S, Down, Reading, Settings, Stores, stores
from observability import settings

EVERY = "2s"
ALL_TIME, TODAY = "All time", "Today (UTC)"

Found = TypeVar("Found", Sums, Newest)


@st.cache_resource(show_spinner=False)
def connections() -> Stores:
    """The process's stores, shared by all viewers."""
    return stores(settings.read(Settings, settings.environ()))


@st.cache_data(ttl=1, max_entries=1, show_spinner=False)
def reading() -> Reading:
    """What the stores say now; however many viewers, each is asked once a second at most."""
    said = connections().read()
    for store, answer in (("cassandra", said.sums), ("mongodb", said.newest), ("mongodb", said.stored)):
        process.count_read(store, down=isinstance(answer, Down))
    return said


@st.fragment(run_every=EVERY)
@process.run_of("live")
def live() -> None:
    """Everything that moves: the places first, then what fills them."""
    states, numbers, minutes, breakdown, newest = (st.container() for _ in range(5))
    said = reading()
    now, zone = datetime.now(UTC), viewer.zone()
    with states:
        show_states(said, now, zone)
    with numbers:
        show_numbers(said, now)
    with minutes:
        show_minutes(said.sums, now, zone)
    with breakdown:
        show_breakdown(said.sums)
    with newest:
        show_newest(said.newest, now, zone)


def show_states(said: Reading, now: datetime, zone: tzinfo) -> None:
    """How old each store's newest user is."""
    with st.container(horizontal=True):
        for badge in (views.badge("Sums", said.sums, now, zone), views.badge("Users", said.newest, now, zone)):
            st.badge(badge.text, icon=badge.icon, color=badge.colour)


def show_numbers(said: Reading, now: datetime) -> None:
    """The figures; a dash where a store is down."""
    users = mean_age = minute = views.UNKNOWN
    if isinstance(said.sums, Sums):
        users = views.number(said.sums.all_time.users)
        mean_age = views.mean_age(said.sums.all_time)
        minute = views.number(views.last_full_minute(said.sums, now))
    stored = views.UNKNOWN if isinstance(said.stored, Down) else views.number(said.stored)
    figures = (
        ("Users", users, "Summed in Cassandra by the stats lane: `totals`, period `all`, dimension `all`."),
        ("Stored in MongoDB", stored, f"The collection's own count, asked every {COUNT_EVERY_S:g} s."),
        ("Mean age", mean_age, "Exact: the ages' sum by the users, both from `totals`, period `all`."),
        ("In the last full minute", minute, "From `stats_by_minute`: the last minute that is over."),
    )
    with st.container(horizontal=True):
        for label, value, where in figures:
            st.metric(label, value, help=where, border=True)


def show_minutes(sums: Sums | Down, now: datetime, zone: tzinfo) -> None:
    """The last hour, or why there is nothing in it."""
    st.subheader(f"Users per minute, last {MINUTES} minutes", help=MINUTES_HELP)
    if shows(sums, now, zone):
        st.vega_lite_chart(views.minutes_table(sums, now), charts.minutes(), width="stretch", key="minutes")


def show_breakdown(sums: Sums | Down) -> None:
    """Who they are: by country, gender and age band, of all time or of today."""
    st.subheader("Who they are", help=BREAKDOWN_HELP)
    period = st.segmented_control(
        "Period", (ALL_TIME, TODAY), default=ALL_TIME, required=True, key="period", label_visibility="collapsed"
    )
    if isinstance(sums, Down):
        st.caption(f"Waiting for {sums.store}.")
        return
    totals = sums.today if period == TODAY else sums.all_time
    if not totals.users:
        st.caption("No users yet today." if period == TODAY and sums.all_time.users else "No users yet.")
        return
    left, right = st.columns(2)
    with left:
        show_shares("Country", totals.countries[: views.COUNTRIES], totals)
        if others := views.other_countries(totals):
            st.caption(others)
    with right:
        show_shares("Gender", views.genders(totals), totals)
        show_shares("Age", views.age_bands(totals), totals)


def show_shares(title: str, counts: tuple[Count, ...], totals: Totals) -> None:
    """One dimension's bars."""
    st.markdown(f"**{title}**")
    table = views.shares_table(counts, totals.users)
    st.vega_lite_chart(table, charts.shares(len(counts)), width="stretch", key=f"shares-{title}")


def show_newest(newest: Newest | Down, now: datetime, zone: tzinfo) -> None:
    """The last ones stored, as far as a screen may show a person."""
    st.subheader("Newest users", help=NEWEST_HELP)
    if shows(newest, now, zone):
        table = views.newest_table(newest, now)
        st.dataframe(table, width="stretch", height="content", hide_index=True, key="newest")


def shows(reading: Found | Down, now: datetime, zone: tzinfo) -> TypeGuard[Found]:
    """Whether there is something to show; says what is wrong: down, empty, or (above what is shown) stale."""
    with st.container():  # always there, so that what follows keeps its place
        if isinstance(reading, Down):
            st.error(views.outage(reading, zone), icon=":material/cloud_off:")
            return False
        if views.newest_at(reading) is None:
            st.info(views.NO_USERS, icon=":material/hourglass_empty:")
            return False
        if late := views.stale(reading, now, zone):
            st.warning(late, icon=":material/warning:")
    return True


MINUTES_HELP = (
    "From Cassandra, `stats_by_minute`: minutes of the time at which the brokers took the users in, so that a backlog "
    "counts when it arrives. The running minute is paler."
)
BREAKDOWN_HELP = "From Cassandra, `totals`: one row a value, written by the stats lane. A day is a day in UTC."
NEWEST_HELP = (
    "From MongoDB, `newest`: the last users stored. First name and initial only; e-mail, phone and street are never "
    "shown. *Stored after* is the time from the fetch to the insert."
)


def main() -> None:
    """The page."""
    st.title("Vigie")
    st.caption("Users, live: counted by the stats lane in Cassandra, stored by the raw lane in MongoDB.")
    try:
        connections()
    except settings.WrongSetting as error:
        st.error(f"A setting is wrong: {error}", icon=":material/settings:")
        return
    live()


if __name__ == "__main__":
    main()
