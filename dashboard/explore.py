"""The exploration page: users found in MongoDB, masked, a page at a time; one user's card, and the user's journey."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import TypeVar

import pyarrow as pa
import streamlit as st

from dashboard import address, journey, process, search, spans, viewer, views
from dashboard.places import GENDERS, PLACES
from dashboard.search import Card, Page, Place, Wanted
from dashboard.stores import Desk, Down, Mongo, Settings, addresses
from dashboard.words import day, say, word
from observability import settings
from observability.logs import Log

COUNTRY, GENDER, YOUNGEST, OLDEST, FETCHED = "country", "gender", "from_age", "to_age", "fetched"
PLACE, USER, LIST = "page", "user", "found"
ANY = ""
TIMES = {ANY: word("any time"), **{name: spans.RANGES[name] for name in (spans.HOUR, spans.TODAY, spans.DAYS)}}
EVERY = "3s"  # how often a store that is down is asked again
LOOK_S = 2.0

T = TypeVar("T")

log = Log("dashboard.explore")  # a page is run as a script, and has no name of its own


@dataclass(frozen=True)
class Own(Settings):
    """Where the stores are, and whether personal data may be shown."""

    unmask: bool


@dataclass(frozen=True)
class Doors:
    """The process's ways to MongoDB: one to see that it is there, one for searches, which may take long."""

    look: Desk
    search: Desk
    quick: Mongo
    slow: Mongo
    unmask: bool


class Unavailable(Exception):
    """The store is down, which must not be remembered as an answer."""

    def __init__(self, down: Down) -> None:
        super().__init__(down.why)
        self.down = down


@st.cache_resource(show_spinner=False)
def doors() -> Doors:
    """The ways to MongoDB, shared by all viewers."""
    wanted = settings.read(Own, settings.environ())
    where = addresses(wanted)[1]
    looking, searching = Desk("MongoDB", where, LOOK_S), Desk("MongoDB", where, search.LONGEST_S)
    return Doors(looking, searching, Mongo(wanted), Mongo(wanted, search.LONGEST_S), wanted.unmask)


def asked(found: T | Down) -> T:
    """The answer, counted; a store that is down is raised, so that no cache keeps it."""
    process.count_read("mongodb", down=isinstance(found, Down))
    if isinstance(found, Down):
        raise Unavailable(found)
    return found


@st.cache_data(ttl=2, max_entries=1, show_spinner=False)
def there() -> bool:
    """
    See that the server is there, and which it is; however many viewers, it is asked every 2 s at most.

    Raises:
        Unavailable: it does not answer in time.
    """
    here = doors()
    return asked(here.look.ask(lambda: here.quick.read(search.embedded)))


@st.cache_data(ttl=20, max_entries=64, show_spinner=False)
def page(wanted: Wanted, place: Place | None) -> tuple[Page, datetime]:
    """
    One page of who was found, and when that was.

    Raises:
        Unavailable: the store is down.
    """
    here = doors()
    return asked(here.search.ask(lambda: here.slow.read(lambda data: search.page(data, wanted, place)))), datetime.now(
        UTC
    )


@st.cache_data(ttl=20, max_entries=64, show_spinner=False)
def card(user_id: str) -> Card | None:
    """
    One user's card; None if nobody has this id.

    Raises:
        Unavailable: the store is down.
    """
    here = doors()
    return asked(here.search.ask(lambda: here.slow.read(lambda data: search.card(data, user_id))))


def choose(today: date) -> Wanted:
    """Who is looked for, from the address at first, and back into it."""
    address.start(COUNTRY, ANY, lambda value: len(value) <= address.LONG)
    address.start(GENDER, ANY, GENDERS.__contains__)
    address.start(FETCHED, ANY, TIMES.__contains__)
    for key, bound in ((YOUNGEST, 0), (OLDEST, 150)):
        if key not in st.session_state:
            asked_age = st.query_params.get(key, "")
            st.session_state[key] = min(150, int(asked_age)) if asked_age.isdecimal() else bound
    with st.container(horizontal=True, vertical_alignment="bottom"):
        countries = list(dict.fromkeys([ANY, *PLACES, st.session_state[COUNTRY]]))
        country = st.selectbox(
            say("Country"),
            countries,
            format_func=lambda name: say(name or "all"),
            key=COUNTRY,
            width=200,
            on_change=begin_anew,
        )
        genders = [ANY, *GENDERS]
        gender = st.selectbox(
            say("Gender"),
            genders,
            format_func=lambda value: views.gender(value) if value else say("all"),
            key=GENDER,
            width=140,
            on_change=begin_anew,
        )
        youngest = st.number_input(say("From age"), 0, 150, step=1, key=YOUNGEST, width=120, on_change=begin_anew)
        oldest = st.number_input(say("To age"), 0, 150, step=1, key=OLDEST, width=120, on_change=begin_anew)
        times = st.selectbox(
            say("Fetched"),
            list(TIMES),
            format_func=lambda name: say(TIMES[name]),
            key=FETCHED,
            width=180,
            on_change=begin_anew,
        )
        first, last = address.choose_days(today, begin_anew) if times == spans.DAYS else (None, None)
    for key, value, default in ((COUNTRY, country, ANY), (GENDER, gender, ANY), (FETCHED, times, ANY)):
        address.keep(key, value, default)
    address.keep(YOUNGEST, str(youngest), "0")
    address.keep(OLDEST, str(oldest), "150")
    address.keep_days(first, last)
    span = spans.span(times, datetime.now(UTC), first, last) if times else None
    return Wanted(country, gender, youngest, oldest, span.first if span else None, span.last if span else None)


def explore(wanted: Wanted, zone: tzinfo) -> None:
    """The list, and the card of who is chosen in it, or why they cannot be shown."""
    try:
        embedded = there()
        show_list(wanted, zone, embedded=embedded)
        show_card(zone)
    except Unavailable as error:
        st.error(views.outage(error.down, zone), icon=":material/cloud_off:")
        st.fragment(wait, run_every=EVERY, key="wait")()


def wait() -> None:
    """Begin anew when the store is back; shown only while it is down."""
    try:
        there()
    except Unavailable:
        st.caption(say("Waiting for {store}.", store="MongoDB"))
    else:
        st.rerun()


def show_list(wanted: Wanted, zone: tzinfo, *, embedded: bool) -> None:
    """One page of users, and the ways to the next ones."""
    place = search.placed(st.query_params.get(PLACE, ""))
    with st.spinner(say("Searching …"), show_time=True):
        found, at = page(wanted, place)
    with st.container(horizontal=True, vertical_alignment="center"):
        for label, to, on in (
            (say("Newest"), None, found.newer),
            (say("Newer"), found.next("newer") if found.users else None, found.newer),
            (say("Older"), found.next("older") if found.users else None, found.older),
        ):
            st.button(label, on_click=turn, args=(to,), disabled=not on, key=f"turn-{label}")
        seen = {"at": views.at(at, zone), "age": views.age(at, datetime.now(UTC))}
        st.caption(say("{n} users on this page, as of {at}, {age} ago", n=len(found.users), **seen))
    if not found.users:
        st.info(say("Nobody is found."), icon=":material/search_off:")
    else:
        ids = [user.user_id for user in found.users]
        st.dataframe(
            table(found),
            hide_index=True,
            height="content",
            key=LIST,
            selection_mode="single-row",
            on_select=lambda: choose_user(ids),
            column_config={
                say("Fetched"): st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", timezone=str(zone))
            },
        )
    if embedded:
        st.caption(say(EMBEDDED))


def begin_anew() -> None:
    """Other users are looked for: the place in the list of the earlier ones means nothing."""
    st.query_params.pop(PLACE, None)


def turn(place: Place | None) -> None:
    """Go to the page that begins there."""
    if place is None:
        st.query_params.pop(PLACE, None)
    else:
        st.query_params[PLACE] = place.text()


def choose_user(ids: list[str]) -> None:
    """Take the id of the row that was clicked."""
    rows = st.session_state[LIST].selection.rows
    st.session_state[USER] = ids[rows[0]] if rows else ""


def table(found: Page) -> pa.Table:
    """The list, as a page may show it."""
    return pa.table(
        {
            say("Name"): [user.name for user in found.users],
            say("Country"): [say(user.country) for user in found.users],
            say("Gender"): [views.gender(user.gender) for user in found.users],
            say("Age"): [user.age for user in found.users],
            say("Fetched"): pa.array([user.fetched_at for user in found.users], pa.timestamp("ms", "UTC")),
            say("Id"): [user.user_id for user in found.users],
        }
    )


def show_card(zone: tzinfo) -> None:
    """One user: what is known without what is personal, and the user's way."""
    address.start(USER, "", search.UUID.fullmatch)
    st.subheader(say("One user"), anchor=False)
    user_id = st.text_input(
        say("User's id"), key=USER, placeholder=say("choose a row above, or paste an id"), max_chars=36
    )
    user_id = user_id.strip().lower()
    address.keep(USER, user_id, "")
    if not user_id:
        return
    if not search.UUID.fullmatch(user_id):
        st.info(say("An id looks like {example}.", example="`0f3c…-….-4…`"), icon=":material/badge:")
        return
    one = card(user_id)
    if one is None:
        st.info(say("Nobody who is stored has this id."), icon=":material/search_off:")
        return
    if one.user is None:
        at = one.forgotten_at
        st.info(say("This user was forgotten on {day}.", day=day(at) if at else ""), icon=":material/person_off:")
        return
    with st.container(border=True):
        show_facts(one, zone)
        if doors().unmask:
            show_personal(user_id, one)
    journey.show(user_id)


def show_facts(one: Card, zone: tzinfo) -> None:
    """What may be shown of anybody."""
    user = one.user
    assert user is not None  # noqa: S101 for the type alone
    st.markdown(f"#### {views.plain(user.name)}")
    facts = {
        say("Country"): say(user.country),
        say("Nationality"): one.nationality,
        say("Gender"): views.gender(user.gender),
        say("Age"): str(user.age),
        say("Fetched"): moment(user.fetched_at, zone),
        say("On the topic"): moment(one.appended_at, zone),
        say("Stored"): moment(one.stored_at, zone),
        say("Place"): one.place,
        say("Trace"): one.trace_id or views.UNKNOWN,
    }
    st.markdown("  \n".join(f"{name}: **{views.plain(value)}**" for name, value in facts.items()))


def moment(at: datetime | None, zone: tzinfo) -> str:
    return f"{day(at.astimezone(zone))} {views.at(at, zone)}" if at else views.UNKNOWN


def show_personal(user_id: str, one: Card) -> None:
    """What is personal, once it is asked for, and only after that is written down."""
    written = st.session_state.setdefault(WRITTEN, set())
    if not st.toggle(say("Show personal data"), key=f"unmask-{user_id}", help=say(UNMASK_HELP)):
        written.discard(user_id)
        return
    if user_id not in written:
        audit(one)
        written.add(user_id)
    here = doors()
    facts = asked(here.search.ask(lambda: here.slow.read(lambda data: search.personal(data, user_id))))
    for name, value in (facts or {}).items():
        st.markdown(f"{say(PERSONAL[name])}: **{views.plain(value)}**")


def audit(one: Card) -> None:
    """Write down that somebody looks at what is personal: at whom is told by place and trace, never by name."""
    log.warning("personal data shown", what=one.place, trace_id=one.trace_id, viewer=st.context.ip_address or "here")


PERSONAL = {
    "name": word("Full name"),
    "born": word("Born"),
    "email": word("E-mail"),
    "username": word("User name"),
    "phone": word("Phone"),
    "street": word("Street"),
    "city": word("City"),
}
EMBEDDED = word(
    "This is the embedded document server: it reads every user for a search, some thousands a second. A MongoDB "
    "server takes an index."
)
WRITTEN = "unmasked"  # of the session's state: of whom it is written down that they are shown
UNMASK_HELP = word("That you look is written into the log of the pages, with the user's place on the topic.")


def main() -> None:
    """The page."""
    st.title(say("Explore"), anchor=False)
    st.caption(say("Users as MongoDB has them, the newest first; names are masked."))
    try:
        doors()
    except settings.WrongSetting as error:
        st.error(say("A setting is wrong: {why}", why=error), icon=":material/settings:")
        return
    with process.run_of("explore"):
        explore(choose(datetime.now(UTC).date()), viewer.zone())


if __name__ == "__main__":
    main()
