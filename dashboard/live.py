"""
The live page: how fast users come and who came last, how old that is and what is missing, anew every 2 s; who they all
are, which changes slowly and is most of what is drawn, every 10 s.
"""

from datetime import UTC, datetime, tzinfo
from typing import TypeGuard, TypeVar

import streamlit as st

from dashboard import charts, process, viewer, views
from dashboard.queries import MINUTES, Count, Newest, Sums, Totals
from dashboard.stores import COUNT_EVERY_S, Down, Reading, Settings, Stores, stores
from dashboard.words import number, say, word
from observability import settings

EVERY, SLOWLY = "2s", "10s"
NEWEST_PX = 388  # ten rows of twenty
ALL_TIME, TODAY = "all", "today"
PERIODS = {ALL_TIME: word("All time"), TODAY: word("Today (UTC)")}
# keys of the session: the switch, what is shown while it is on, and the state in which the breakdown was drawn last
PAUSED, HELD, DRAWN = "paused", "held", "drawn"

Found = TypeVar("Found", Sums, Newest)


@st.cache_resource(show_spinner=False)
def connections() -> Stores:
    """The process's stores, shared by all viewers."""
    return stores(settings.read(Settings, settings.environ()))


@st.cache_resource(ttl=1, max_entries=1, show_spinner=False)  # one value for all viewers, not a copy for each
def reading() -> tuple[Reading, datetime]:
    """What the stores say now, and when that was; however many viewers, each is asked once a second at most."""
    said = connections().read()
    for store, answer in (("cassandra", said.sums), ("mongodb", said.newest), ("mongodb", said.stored)):
        process.count_read(store, down=isinstance(answer, Down))
    return said, datetime.now(UTC)


def shown(*, paused: bool) -> tuple[Reading, datetime]:
    """What is to be shown: the stores' answers, or while paused those that were there then, and their time."""
    if not paused:
        st.session_state.pop(HELD, None)
        said, _ = reading()
        return said, datetime.now(UTC)
    held: tuple[Reading, datetime] = st.session_state.setdefault(HELD, reading())
    return held


@process.run_of("live")
def live(*, paused: bool) -> None:
    """What moves fast: the places first, then what fills them."""
    states, numbers, minutes, newest = (st.container() for _ in range(4))
    (said, now), zone = shown(paused=paused), viewer.zone()
    with process.turn():
        with states:
            show_states(said, now, zone, paused=paused)
        with numbers:
            show_numbers(said, now)
        with minutes:
            show_minutes(said.sums, now, zone)
        with newest:
            show_newest(said.newest, now, zone)
    if st.session_state.get(DRAWN, state(said.sums)) != state(said.sums):
        st.rerun()  # what is drawn slowly must not hide for so long that its store is down, or back


@process.run_of("live")
def breakdown(*, paused: bool) -> None:
    """Who they all are."""
    said, _ = shown(paused=paused)
    st.session_state[DRAWN] = state(said.sums)
    with process.turn():
        show_breakdown(said.sums)


def state(sums: Sums | Down) -> str:
    """What there is to be drawn of Cassandra: `down`, `empty` or `users`."""
    return "down" if isinstance(sums, Down) else "users" if sums.all_time.users else "empty"


def show_states(said: Reading, now: datetime, zone: tzinfo, *, paused: bool) -> None:
    """How old each store's newest user is."""
    with st.container(horizontal=True):
        if paused:
            st.badge(say("Paused at {at}", at=views.at(now, zone)), icon=":material/pause_circle:", color="blue")
        for what, reading in ((say("Sums"), said.sums), (say("Users"), said.newest)):
            badge = views.badge(what, reading, now, zone)
            st.badge(badge.text, icon=badge.icon, color=badge.colour)


def show_numbers(said: Reading, now: datetime) -> None:
    """The figures, each with its trend; a dash where a store is down."""
    stored = views.UNKNOWN if isinstance(said.stored, Down) else number(said.stored)
    users = mean_age = views.UNKNOWN
    moving: list[tuple[str, tuple[str, str] | None]] = [(views.UNKNOWN, None)] * 3
    if isinstance(said.sums, Sums):
        sums, minute = said.sums, views.last_full_minute(said.sums, now)
        hour, hour_before = (views.full_minutes(sums, now, MINUTES - 1, before) for before in (0, MINUTES - 1))
        users, mean_age = number(sums.all_time.users), views.mean_age(sums.all_time)
        moving = [
            (number(minute), views.trend(minute, views.full_minutes(sums, now, 1, 1), say("than the minute before"))),
            (number(hour), views.trend(hour, hour_before, say("than the hour before"))),
            (number(sums.today.users), views.trend(sums.today.users, sums.yesterday, say("than yesterday by now"))),
        ]
    figures = (
        (say("Users"), users, None, say(USERS_HELP)),
        (say("In the last full minute"), *moving[0], say(MINUTE_HELP)),
        (say("In the last hour"), *moving[1], say(HOUR_HELP)),
        (say("Today (UTC)"), *moving[2], say(TODAY_HELP)),
        (say("Mean age"), mean_age, None, say(AGE_HELP)),
        (say("Stored in MongoDB"), stored, None, say(STORED_HELP, seconds=f"{COUNT_EVERY_S:g}")),
    )
    for row in (figures[:3], figures[3:]):
        for place, (label, value, moved, where) in zip(st.columns(3), row, strict=True):
            delta, than = moved or (None, None)
            place.metric(label, value, delta, "off", help=where, border=True, delta_description=than, height="stretch")


def show_minutes(sums: Sums | Down, now: datetime, zone: tzinfo) -> None:
    """The last hour, or why there is nothing in it."""
    st.subheader(say("Users per minute, last {n} minutes", n=MINUTES), help=say(MINUTES_HELP), anchor=False)
    if shows(sums, now, zone):
        st.vega_lite_chart(
            views.minutes_table(sums, now),
            charts.minutes(),
            width="stretch",
            key="minutes",
            alt=say("Bars: users of each of the last {n} minutes.", n=MINUTES),
        )


def show_breakdown(sums: Sums | Down) -> None:
    """Who they are: by country, nationality, gender and age, of all time or of today."""
    st.subheader(say("Who they are"), help=say(BREAKDOWN_HELP), anchor=False)
    period = st.segmented_control(
        say("Period"),
        list(PERIODS),
        format_func=lambda period: say(PERIODS[period]),
        default=ALL_TIME,
        required=True,
        key="period",
        label_visibility="collapsed",
    )
    if isinstance(sums, Down):
        st.caption(say("Waiting for {store}.", store=sums.store))
        return
    totals = sums.today if period == TODAY else sums.all_time
    if not totals.users:
        st.caption(say("No users yet today.") if period == TODAY and sums.all_time.users else say("No users yet."))
        return
    left, right = st.columns((3, 2), gap="medium")
    with left:
        show_map(totals)
    with right:
        show_ages(totals)
    left, middle, right = st.columns(3, gap="medium")
    with left:
        show_shares(say("Country"), "country", views.countries(totals), totals)
        show_others(totals.countries, totals)
    with middle:
        show_shares(say("Nationality"), "nationality", totals.nationalities[: views.COUNTRIES], totals)
        show_others(totals.nationalities, totals)
    with right:
        show_shares(say("Gender"), "gender", views.genders(totals), totals)
        show_shares(say("Age"), "age", views.age_bands(totals), totals)


def show_map(totals: Totals) -> None:
    """Where they are."""
    st.markdown(f"**{say('Countries on the map')}**")
    words = say("Map: a bubble for each country, its area is the users.")
    st.vega_lite_chart(views.map_table(totals), charts.world(), width="stretch", key="map", alt=words)
    if rest := views.off_the_map(totals):
        st.caption(rest)


def show_ages(totals: Totals) -> None:
    """How old they are, women and men."""
    st.markdown(f"**{say('Age by gender')}**")
    table = views.pyramid_table(totals)
    if table.num_rows:
        words = say("Age pyramid: women to the left, men to the right.")
        chart = charts.pyramid(table.num_rows // 2)
        st.vega_lite_chart(table, chart, width="stretch", key="pyramid", alt=words)
    if older := views.uncrossed(totals):
        st.caption(older)


def show_shares(title: str, key: str, counts: tuple[Count, ...], totals: Totals) -> None:
    """One dimension's bars."""
    st.markdown(f"**{title}**")
    table = views.shares_table(counts, totals.users)
    words = say("Bars: users by {dimension}, with their share.", dimension=title)
    st.vega_lite_chart(table, charts.shares(len(counts)), width="stretch", key=f"shares-{key}", alt=words)


def show_others(counts: tuple[Count, ...], totals: Totals) -> None:
    """The line for the values that do not fit."""
    if rest := views.others(counts, totals.users):
        st.caption(rest)


def show_newest(newest: Newest | Down, now: datetime, zone: tzinfo) -> None:
    """The last ones stored, as far as a screen may show a person."""
    st.subheader(say("Newest users"), help=say(NEWEST_HELP), anchor=False)
    if shows(newest, now, zone):
        table = views.newest_table(newest, now)
        st.dataframe(table, width="stretch", height=NEWEST_PX, hide_index=True, key="newest")


def shows(reading: Found | Down, now: datetime, zone: tzinfo) -> TypeGuard[Found]:
    """Whether there is something to show; says what is wrong: down, empty, or (above what is shown) stale."""
    with st.container():  # always there, so that what follows keeps its place
        if isinstance(reading, Down):
            st.error(views.outage(reading, zone), icon=":material/cloud_off:")
            return False
        if views.newest_at(reading) is None:
            st.info(say(views.NO_USERS), icon=":material/hourglass_empty:")
            return False
        if late := views.stale(reading, now, zone):
            st.warning(late, icon=":material/warning:")
    return True


USERS_HELP = word("Summed in Cassandra by the stats lane: `totals`, period `all`, dimension `all`.")
STORED_HELP = word("The collection's own count, asked every {seconds} s.")
AGE_HELP = word("Exact: the ages' sum by the users, both from `totals`, period `all`.")
MINUTE_HELP = word("From `stats_by_minute`: the last minute that is over.")
HOUR_HELP = word("From `stats_by_minute`: the last 59 minutes that are over, and the 59 before them.")
TODAY_HELP = word("From `totals`, a day in UTC; compared with yesterday's minutes up to this time of the day.")
MINUTES_HELP = word(
    "From Cassandra, `stats_by_minute`: minutes of the time at which the brokers took the users in, so that a backlog "
    "counts when it arrives. The running minute is paler."
)
BREAKDOWN_HELP = word(
    "From Cassandra, `totals`: one row a value, by the stats lane; drawn anew every 10 s. A day is a day in UTC."
)
NEWEST_HELP = word(
    "From MongoDB, `newest`: the last users stored. First name and initial only; e-mail, phone and street are never "
    "shown. *Stored after* is the time from the fetch to the insert."
)


def main() -> None:
    """The page."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title(say("Users, live"), anchor=False)
        paused = st.toggle(say("Pause"), key=PAUSED, help=say("Nothing moves while you read; the pipeline goes on."))
    st.caption(say("Counted by the stats lane in Cassandra, stored by the raw lane in MongoDB."))
    try:
        connections()
    except settings.WrongSetting as error:
        st.error(say("A setting is wrong: {why}", why=error), icon=":material/settings:")
        return
    st.session_state.pop(DRAWN, None)  # it is drawn in this run
    for part, every in ((live, EVERY), (breakdown, SLOWLY)):
        st.fragment(part, run_every=None if paused else every, key=part.__name__)(paused=paused)


if __name__ == "__main__":
    main()
