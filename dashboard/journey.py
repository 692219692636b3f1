"""
One user's journey from the API call to the stores: what MongoDB holds of its hops, and its trace, read from Jaeger.

`show(user)` draws it wherever it is called. Nothing of the person is read but the id.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar

import altair as alt
import msgspec
import pyarrow as pa
import streamlit as st

from dashboard import jaeger, process, stores, viewer, views
from dashboard.jaeger import NoTrace, Place, Span
from dashboard.operations import wanted
from dashboard.specs import Spec, spec, spoken
from dashboard.stores import Mongo, StoreDown
from dashboard.words import say, word
from observability import settings
from services.contract import Uuid
from spark.contract import FORGOTTEN_AT, USERS

T = TypeVar("T")

FIELDS = ("fetched_at", "appended_at", "stored_at", "topic", "trace_id", "source.page", FORGOTTEN_AT)
EVERY = "10s"
MONGO_S, JAEGER_S = 1.2, 1.5  # what is waited for each, so that both say within 3 s that they do not answer
MOST_SPANS = 60
LEAST_WIDTH = 0.004  # of the chart, so that a span of a millisecond is seen
BAR_PX, MARGIN_PX = 24, 90  # a bar; the axis and the legend


@dataclass(frozen=True)
class Way:
    """What MongoDB holds of a user's hops."""

    fetched_at: datetime | None = None
    appended_at: datetime | None = None
    stored_at: datetime | None = None
    place: Place | None = None
    trace_id: str = ""
    page: int = 0
    forgotten_at: datetime | None = None


class _Topic(msgspec.Struct):
    partition: int
    offset: int


class _Source(msgspec.Struct):
    page: int = 0


class _User(msgspec.Struct):
    fetched_at: datetime | None = None
    appended_at: datetime | None = None
    stored_at: datetime | None = None
    topic: _Topic | None = None
    trace_id: str = ""
    source: _Source = msgspec.field(default_factory=_Source)


@st.cache_resource(show_spinner=False)
def mongo() -> Mongo:
    """The process's way to MongoDB, shared by all viewers."""
    return Mongo(settings.read(stores.Settings, settings.environ()))


def held(user: str) -> dict[str, Any] | None:
    """
    What MongoDB holds of the user's way; nothing of the person.

    Raises:
        StoreDown: it cannot be reached or does not answer.
    """
    return mongo().read(lambda data: data[USERS].find_one({"_id": user}, FIELDS))


@st.cache_resource(show_spinner=False)
def threads() -> ThreadPoolExecutor:
    """Those that wait for a store, so that no page does longer than it wants."""
    return ThreadPoolExecutor(4, thread_name_prefix="journey")


@st.cache_data(ttl=10, max_entries=64, show_spinner=False)
def way(user: str) -> Way | None:
    """
    The user's hops; None if it is not stored. A failure is kept by no cache.

    Raises:
        StoreDown: MongoDB.
    """
    found = within(MONGO_S, lambda: held(user))
    if found is None:
        return None
    try:
        one = msgspec.convert(found, _User)
    except msgspec.ValidationError as error:
        raise StoreDown(word("a document breaks the contract")) from error
    return Way(
        one.fetched_at,
        one.appended_at,
        one.stored_at,
        (one.topic.partition, one.topic.offset) if one.topic else None,
        one.trace_id,
        one.source.page,
        found.get(FORGOTTEN_AT),
    )


@st.cache_data(ttl=30, max_entries=64, show_spinner=False)
def trace(trace_id: str, place: Place | None) -> tuple[Span, ...]:
    """
    The spans of the page and of this user.

    Raises:
        NoTrace, StoreDown: Jaeger.
    """
    every = within(JAEGER_S, lambda: jaeger.asked(wanted().jaeger_url, trace_id))
    return jaeger.of_message(every, place)


def within(seconds: float, question: Callable[[], T]) -> T:
    """The answer, or StoreDown after so many seconds."""
    asked: Future[T] = threads().submit(question)
    try:
        return asked.result(seconds)
    except TimeoutError as error:
        asked.cancel()
        raise StoreDown(stores.SILENT) from error


def show(user: str) -> None:
    """One user's journey, anew every 10 s, so that what was down is there when it is back."""
    _show(user)


@st.fragment(run_every=EVERY)
@process.run_of("journey")
def _show(user: str) -> None:
    st.subheader(say("The journey"), help=say(HELP), anchor=False)
    try:
        user = msgspec.convert(user.strip().lower(), Uuid)
    except msgspec.ValidationError:
        st.info(say("This is no user's id."), icon=":material/badge:")
        return
    try:
        found = way(user)
    except StoreDown as error:
        process.count_read("mongodb", down=True)
        st.error(
            say("**MongoDB**: {why}. It is asked again every 10 s.", why=say(str(error))), icon=":material/cloud_off:"
        )
        return
    except settings.WrongSetting as error:
        st.error(say("A setting is wrong: {why}", why=error), icon=":material/settings:")
        return
    process.count_read("mongodb", down=False)
    if found is None:
        st.info(say("MongoDB does not hold this user: not yet, or not at all."), icon=":material/search_off:")
        return
    if found.forgotten_at:
        st.info(say("This user was forgotten: the id is kept, and nothing else."), icon=":material/person_off:")
        return
    show_hops(found)
    show_trace(found)


def show_hops(found: Way) -> None:
    """How long each part of the way took, as the stores tell."""
    first, second, third = found.fetched_at, found.appended_at, found.stored_at
    with st.container(horizontal=True):
        for label, begin, end, help_ in (
            (say("Fetched to topic"), first, second, say("Through the outbox to the brokers, by their clock.")),
            (say("Topic to MongoDB"), second, third, say("Read and written by the raw lane.")),
            (say("The whole way"), first, third, say("From the end of the API call to the store.")),
        ):
            took = views.UNKNOWN if begin is None or end is None else exactly((end - begin).total_seconds())
            st.metric(label, took, help=help_, border=True)
    zone = viewer.zone()
    said = [
        say("Page {n} of the source", n=found.page),
        *([say("fetched {moment}", moment=clock(first, zone))] if first else []),
        *([say("on the topic at {place}", place=f"`{found.place[0]}:{found.place[1]}`")] if found.place else []),
        *([say("stored {moment}", moment=clock(third, zone))] if third else []),
    ]
    st.caption(" · ".join(said))


def show_trace(found: Way) -> None:
    """The waterfall, or why there is none."""
    if not found.trace_id:
        st.info(say("No trace was made of the page that this user came with."), icon=":material/timeline:")
        return
    here = wanted()
    outside = f"http://{viewer.host(here.host)}:{here.jaeger_port}"
    try:
        spans = trace(found.trace_id, found.place)
    except NoTrace:
        process.count_read("jaeger", down=False)
        st.info(say(NOT_SAMPLED), icon=":material/timeline:")
        return
    except StoreDown as error:
        process.count_read("jaeger", down=True)
        st.warning(
            say("**Jaeger**: {why}. It is asked again every 10 s.", why=say(str(error))), icon=":material/cloud_off:"
        )
        return
    process.count_read("jaeger", down=False)
    table = waterfall(spans[:MOST_SPANS], viewer.zone())
    st.vega_lite_chart(table, drawn(table.num_rows), width="stretch", key=f"journey-{found.trace_id}")
    if found.place and not any(one.place == found.place for one in spans):
        st.caption(say(ONLY_THE_PAGE))
    if len(spans) > MOST_SPANS:
        st.caption(say("and {n} more spans", n=len(spans) - MOST_SPANS))
    with st.expander(say("As a table")):
        st.dataframe(
            table.select(["at", "hop", "span", "took", "failed"]),
            hide_index=True,
            width="stretch",
            column_config={
                "at": say("At"),
                "hop": say("Process"),
                "span": say("Step"),
                "took": say("Took"),
                "failed": say("Failed"),
            },
        )
    address = jaeger.linked(here.jaeger_url, outside, found.trace_id)
    st.caption(f"[{say('The whole trace in Jaeger')}]({address}) `{found.trace_id}`")


def waterfall(spans: Sequence[Span], zone: tzinfo) -> pa.Table:
    """One row a span: where its bar begins and ends (seconds since the first), and what is said of it."""
    first = min((one.began for one in spans), default=0.0)
    length = max((one.began + one.took for one in spans), default=0.0) - first
    lines: list[str] = []
    for one in spans:
        line = f"{one.service}: {one.name}"
        n = sum(1 for before in lines if before == line or before.startswith(f"{line} #"))
        lines.append(f"{line} #{n + 1}" if n else line)
    begun = [one.began - first for one in spans]
    return pa.table(
        {
            "line": pa.array(lines, pa.string()),
            "place": pa.array(range(len(spans)), pa.int64()),
            "hop": pa.array([one.service for one in spans], pa.string()),
            "span": pa.array([one.name for one in spans], pa.string()),
            "begin": pa.array(begun, pa.float64()),
            "end": pa.array(
                [at + max(one.took, LEAST_WIDTH * length) for at, one in zip(begun, spans, strict=True)], pa.float64()
            ),
            "edge": pa.array([1.15 * length] * len(spans), pa.float64()),  # room for the last bar's words
            "at": pa.array([clock(datetime.fromtimestamp(one.began, UTC), zone) for one in spans], pa.string()),
            "took": pa.array([exactly(one.took) for one in spans], pa.string()),
            "failed": pa.array([one.failed for one in spans], pa.string()),
            "label": pa.array([exactly(one.took) + (" ✗" if one.failed else "") for one in spans], pa.string()),
        }
    )


def drawn(bars: int) -> Spec:
    """The waterfall: a bar a span, coloured by process, with how long it took behind it."""
    base = alt.Chart(alt.NamedData("rows"), height=bars * BAR_PX + MARGIN_PX).encode(
        x=alt.X("begin:Q", title=None, axis=alt.Axis(orient="top", labelExpr="format(datum.value, ',~f') + ' s'")),
        y=alt.Y(
            "line:N",
            title=None,
            sort=alt.EncodingSortField("place", op="min"),
            axis=alt.Axis(labelLimit=230, labelOverlap=False),
        ),
        tooltip=[
            alt.Tooltip("line:N", title=say("Step")),
            alt.Tooltip("at:N", title=say("At")),
            alt.Tooltip("took:N", title=say("Took")),
            alt.Tooltip("failed:N", title=say("Failed")),
        ],
    )
    marks = base.mark_bar(height={"band": 0.7}).encode(
        x2="end:Q", color=alt.Color("hop:N", title=None, legend=alt.Legend(orient="bottom"))
    )
    words = base.mark_text(align="left", dx=4, color="#808080").encode(x="end:Q", text="label:N")
    return spoken(spec(marks + words + base.mark_rule(opacity=0).encode(x="edge:Q")))


def exactly(seconds: float) -> str:
    """A time with what counts: 12.3 ms, 1.42 s, 2 min 5 s."""
    if seconds < 1:
        return f"{1000 * seconds:,.1f} ms"
    return f"{seconds:.2f} s" if seconds < 60 else views.span(seconds)


def clock(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%H:%M:%S.%f}"[:-3]


HELP = word(
    "From MongoDB: when this user was at each hop. From Jaeger: its trace, from the call of the API to both stores, "
    "of the page that it came with and of its own message."
)
NOT_SAMPLED = word(
    "Jaeger does not have this user's trace: it was not sampled (VIGIE_TRACE_SHARE), is not there yet, or is forgotten "
    "by now."
)
ONLY_THE_PAGE = word(
    "The page's call was traced; this user's own way from the topic to the stores was not sampled (VIGIE_TRACE_SHARE)."
)
