"""The operations page: is it working, how late is it, has anything been lost, what broke first; anew every 2 s."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

import requests
import streamlit as st

from dashboard import answers, charts, picture, process, tables, viewer, views
from dashboard.board import CHART_MINUTES, Board, Watched, Watchers, watchers
from dashboard.prometheus import Point
from dashboard.stores import Down
from dashboard.words import say, word
from observability import settings

EVERY = "2s"
NO_WATCHERS = word("VIGIE_WATCH is 0: `make up` starts no watchers, so there is nothing to show here.")
NOT_TOLD = word("**{down}**. What fires is seen here, but nobody is told of it.")


@dataclass(frozen=True)
class Settings:
    """Where the watchers are."""

    host: str
    watch: bool
    prometheus_port: int
    prometheus_url: str
    alertmanager_port: int
    alertmanager_url: str
    grafana_port: int
    grafana_url: str
    jaeger_port: int
    jaeger_url: str
    spark_ui_port: int


@st.cache_resource(show_spinner=False)
def wanted() -> Settings:
    """The process's settings."""
    return settings.read(Settings, settings.environ())


@st.cache_resource(show_spinner=False)
def connections() -> Watchers:
    """The process's watchers, shared by all viewers."""
    here = wanted()
    return watchers(here.prometheus_url, here.alertmanager_url)


@st.cache_data(ttl=2, max_entries=1, show_spinner=False)
def watching() -> Watched:
    """What the watchers say now; however many viewers, each is asked once in two seconds at most."""
    return connections().read()


@st.cache_data(ttl=30, max_entries=1, show_spinner=False)
def is_grafana(address: str) -> bool:
    """Whether a Grafana answers there: `make up` starts none."""
    try:
        return "database" in requests.get(f"{address}/api/health", timeout=(0.3, 0.7)).text
    except requests.RequestException:
        return False


@st.fragment(run_every=EVERY)
@process.run_of("operations")
def operations() -> None:
    """Everything that moves: the places first, then what fills them."""
    state, four, firing, way, promises, lanes, flow, targets = (st.container() for _ in range(8))
    said = watching()
    now, zone = datetime.now(UTC), viewer.zone()
    with state:
        show_state(said, now, zone)
    with four:
        show_answers(said.board, now, zone)
    with firing:
        show_alerts(said, now, zone)
    board = None if answers.blind(said.board, now, zone) else said.board
    if not isinstance(board, Board):
        return
    with way:
        show_picture(board)
    with promises:
        show_promises(board)
    with lanes:
        show_lanes(board)
    with flow:
        left, right = st.columns((3, 2), gap="medium")
        with left:
            show_hops(board)
        with right:
            show_delays(said.delays)
    with targets:
        show_targets(board)


def show_state(said: Watched, now: datetime, zone: tzinfo) -> None:
    """How old the numbers are, and what is wrong with the watchers themselves."""
    badge = tables.as_of(said.board, now, zone)
    st.badge(badge.text, icon=badge.icon, color=badge.colour)
    if isinstance(said.board, Down):
        st.error(views.outage(said.board, zone), icon=":material/cloud_off:")
        if not wanted().watch:
            st.info(say(NO_WATCHERS), icon=":material/visibility_off:")
    elif isinstance(said.suppressed, Down):
        down = say(
            "{store} unavailable since {moment}",
            store=said.suppressed.store,
            moment=views.at(said.suppressed.since, zone),
        )
        st.warning(say(NOT_TOLD, down=down), icon=":material/notifications_off:")


def show_answers(board: Board | Down, now: datetime, zone: tzinfo) -> None:
    """The four answers, side by side."""
    for place, answer in zip(st.columns(4), answers.four(board, now, zone), strict=True):
        with place, st.container(border=True, height="stretch", gap="xsmall"):
            st.markdown(f"{answer.question}\n### :{answer.colour}[{answer.text}]", anchors=False)
            st.caption(answer.more)


def show_alerts(said: Watched, now: datetime, zone: tzinfo) -> None:
    """What fires and what is about to, the oldest first; nothing where nothing does."""
    if answers.blind(said.board, now, zone) or not isinstance(said.board, Board) or not said.board.broken:
        return
    st.subheader(say("Alerts, what broke first on top"), help=say(ALERTS_HELP), anchor=False)
    held = () if isinstance(said.suppressed, Down) else said.suppressed
    st.table(tables.alerts(said.board, held, now, zone), border="horizontal", hide_index=True)
    if more := tables.more_alerts(said.board):
        st.caption(more)


def show_picture(board: Board) -> None:
    """The pipeline, hop by hop, with rate, lag and health."""
    st.subheader(say("The pipeline"), help=say(PICTURE_HELP), anchor=False)
    st.html(picture.html(board))


def show_lanes(board: Board) -> None:
    """Both lanes and their stores."""
    st.subheader(say("Lanes"), help=say(LANES_HELP), anchor=False)
    st.table(tables.lanes(board), border="horizontal", hide_index=True)


def show_hops(board: Board) -> None:
    """The flow hop by hop."""
    st.subheader(say("The way of a user, hop by hop"), help=say(HOPS_HELP), anchor=False)
    st.table(tables.hops(board), border="horizontal", hide_index=True)
    if notes := tables.notes(board):
        st.caption(notes)


def show_promises(board: Board) -> None:
    """The two objectives, how they were kept, and what is left of their budgets."""
    st.subheader(say("Promises"), help=say(PROMISES_HELP), anchor=False)
    st.table(tables.promises(board), border="horizontal", hide_index=True)


def show_delays(points: tuple[Point, ...] | Down) -> None:
    """How long users took, over the last quarter of an hour."""
    st.subheader(say("From fetch to store, last {n} min", n=CHART_MINUTES), help=say(DELAYS_HELP), anchor=False)
    if isinstance(points, Down):
        st.caption(say("Waiting for {store}: {why}.", store=points.store, why=views.plain(say(points.why))))
    elif not points:
        st.caption(say("No user has reached a store in the last {n} minutes.", n=CHART_MINUTES))
    else:
        st.vega_lite_chart(tables.delays(points), charts.delays(), width="stretch", key="delays")


def show_targets(board: Board) -> None:
    """Which processes answer Prometheus."""
    st.subheader(say("Processes"), help=say(TARGETS_HELP), anchor=False)
    with st.container(horizontal=True):
        for badge in tables.processes(board.targets):
            st.badge(badge.text, icon=badge.icon, color=badge.colour)


def show_links(here: Settings) -> None:
    """The other servers' pages, and those that have none, at the host by which the viewer came here."""
    host = viewer.host(here.host)
    pages = {"Spark": here.spark_ui_port, "Alertmanager": here.alertmanager_port}
    if is_grafana(here.grafana_url):
        pages["Grafana"] = here.grafana_port
    links = "  ·  ".join(f"[{name}](http://{host}:{port})" for name, port in pages.items())
    apis = f"Prometheus `http://{host}:{here.prometheus_port}`, Jaeger `http://{host}:{here.jaeger_port}`"
    st.caption(say("Look closer: {links}  ·  an API here, no page: {apis}", links=links, apis=apis))


ALERTS_HELP = word(
    "From Prometheus. The oldest that fires is on top: what came after may be its consequence. *Pending* ones hold, "
    "but not yet long enough to fire. *Silenced* ones are told to nobody by the Alertmanager."
)
PICTURE_HELP = word(
    "Users a second of the last minute, from Prometheus. A hop is *well* when its process answers, it is not late, and "
    "the auditor misses nobody there."
)
LANES_HELP = word(
    "*Unread for*: the age of the oldest message that the lane has not read. p50 and p95: from the fetch to the store, "
    "users of the last minute. The canary is a user of our own that is sent every few seconds: with its age growing "
    "the pipe is broken, with only the newest user's age growing the source is quiet."
)
HOPS_HELP = word(
    "Rates are of the last minute. The auditor compares each hop with the one before it: *in flight* is the difference "
    "now, *lost* is what being in flight does not explain."
)
PROMISES_HELP = word(
    "Recorded by Prometheus (`slo.yml`). The share of users in time counts both lanes, and time in which nothing "
    "arrived. The budget is what may still go wrong within seven days: below 0 % the promise was broken."
)
DELAYS_HELP = word("By lane, from `vigie_end_to_end_seconds`: each point is the users of the minute before it.")
TARGETS_HELP = word("Everything that Prometheus asks every few seconds, and whether it answered the last time.")


def main() -> None:
    """The page."""
    st.title(say("Operations"), anchor=False)
    try:
        connections()
    except settings.WrongSetting as error:
        st.error(say("A setting is wrong: {why}", why=error), icon=":material/settings:")
        return
    show_links(wanted())
    operations()


if __name__ == "__main__":
    main()
