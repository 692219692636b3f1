"""The analysis page: any two dimensions against each other, in any time, compared with the time before; as a link."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial

import pyarrow as pa
import streamlit as st

from dashboard import address, analysis, charts, process, spans, viewer, views
from dashboard.analysis import TITLES
from dashboard.cross import Counts, Filters, picked, whole
from dashboard.places import AGES, GENDERS, NATIONALITIES, PLACES
from dashboard.spans import RANGES, Counted, Slice, Span
from dashboard.stores import ASKED_S, Cassandra, Desk, Down, Settings, addresses
from dashboard.words import decimal, number, say, word
from observability import settings
from spark.contract import AGE, COUNTRY, CROSSED, GENDER, NATIONALITY

EVERY = "5s"
ROWS, COLUMNS, RANGE, COMPARE = "rows", "columns", "range", "compare"
NONE = "none"
KNOWN = {COUNTRY: tuple(PLACES), GENDER: tuple(GENDERS), AGE: AGES, NATIONALITY: NATIONALITIES}


@dataclass(frozen=True)
class Choice:
    """What is to be shown."""

    dimensions: tuple[str, ...]
    range: str
    first: date | None
    last: date | None
    compare: bool
    filters: Filters


@st.cache_resource(show_spinner=False)
def connection() -> tuple[Desk, Cassandra]:
    """Where questions about a range are put, for all viewers."""
    wanted = settings.read(Settings, settings.environ())
    return Desk("Cassandra", addresses(wanted)[0], ASKED_S), Cassandra(wanted)


@st.cache_data(ttl=4, max_entries=32, show_spinner=False)
def slices(span: Span) -> Counted | Down:
    """A range's counts and how new they are; however many viewers, each range is read every 4 s at most."""
    desk, cassandra = connection()
    found = desk.ask(lambda: cassandra.read(partial(spans.counted, wanted=span)))
    process.count_read("cassandra", down=isinstance(found, Down))
    return found


def choose() -> Choice:
    """The choices, from the address at first, and back into it."""
    today = datetime.now(UTC).date()
    address.start(ROWS, COUNTRY, CROSSED.__contains__)
    address.start(COLUMNS, GENDER, (*CROSSED, NONE).__contains__)
    address.start(RANGE, spans.TODAY, RANGES.__contains__)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        rows = st.selectbox(say("Rows"), CROSSED, format_func=titled, key=ROWS, width=180)
        columns = st.selectbox(say("Against"), (NONE, *CROSSED), format_func=titled, key=COLUMNS, width=180)
        chosen = st.selectbox(
            say("Time"), list(RANGES), format_func=lambda name: say(RANGES[name]), key=RANGE, width=200
        )
        first, last = address.choose_days(today) if chosen == spans.DAYS else (None, None)
        if COMPARE not in st.session_state:
            st.session_state[COMPARE] = st.query_params.get(COMPARE) == "1"
        compare = st.toggle(say("Compare with the time before"), key=COMPARE, disabled=chosen == spans.ALL)
    filters = choose_filters()
    for key, value, default in ((ROWS, rows, COUNTRY), (COLUMNS, columns, GENDER), (RANGE, chosen, spans.TODAY)):
        address.keep(key, value, default)
    address.keep(COMPARE, "1" if compare else "", "")
    address.keep_days(first, last)
    dimensions = (rows,) if columns in (NONE, rows) else (rows, columns)
    return Choice(dimensions, chosen, first, last, compare and chosen != spans.ALL, filters)


def titled(name: str) -> str:
    return say("nothing") if name == NONE else say(TITLES[name])


def choose_filters() -> Filters:
    """Who counts: an empty filter is all."""
    keys = {name: f"of_{name}" for name in CROSSED}
    for name, key in keys.items():
        address.start_many(key, AGES.__contains__ if name == AGE else bool)
    chosen = sum(bool(st.session_state[key]) for key in keys.values())
    filters: dict[str, tuple[str, ...]] = {}
    title = say("Filters: {n} set", n=chosen) if chosen else say("Filters")
    with st.expander(title, icon=":material/filter_alt:", key="filters"):
        for name, place in zip(CROSSED, st.columns(4), strict=True):
            picked_values = place.multiselect(
                say(TITLES[name]),
                list(dict.fromkeys([*KNOWN[name], *st.session_state[keys[name]]])),
                format_func=partial(analysis.called, name),
                placeholder=say("all"),
                key=keys[name],
            )
            address.keep(keys[name], picked_values, [])
            filters[name] = tuple(picked_values)
    return filters


@process.run_of("analyse")
def analyse(chosen: Choice) -> None:
    """What the choice comes to, or why it cannot be shown; read anew every EVERY."""
    span = spans.span(chosen.range, datetime.now(UTC), chosen.first, chosen.last)
    figures, charts_, tables = (st.container() for _ in range(3))
    found = slices(span)
    earlier = span.before() if chosen.compare else None
    before = slices(earlier) if earlier and not isinstance(found, Down) else Counted((), None)
    for one in (found, before):
        if isinstance(one, Down):
            figures.error(views.outage(one, viewer.zone()), icon=":material/cloud_off:")
            return
    assert not isinstance(found, Down)  # noqa: S101 for the type alone
    assert not isinstance(before, Down)  # noqa: S101
    kept = tuple(Slice(one.at, picked(one.counts, chosen.filters)) for one in found.slices)
    counts, counts_before = spans.total(kept), picked(spans.total(before.slices), chosen.filters)
    with figures:
        show_figures(counts, counts_before, (span, earlier), found.newest)
    if not counts:
        charts_.info(say(NOBODY_HERE), icon=":material/hourglass_empty:")
        return
    rows = analysis.rows(counts, counts_before, chosen.dimensions)
    with charts_:
        show_cross(analysis.chart_table(rows, chosen.dimensions), chosen)
        if earlier:
            show_change(
                analysis.chart_table(analysis.rows(counts, counts_before, chosen.dimensions[:1]), chosen.dimensions[:1])
            )
        if len(kept) > 1:
            show_time(analysis.over_time(kept, chosen.dimensions[0]), span)
    with tables:
        show_table(analysis.shown_table(rows, chosen.dimensions, compared=bool(earlier)), chosen)


def show_figures(counts: Counts, before: Counts, times: tuple[Span, Span | None], newest: datetime | None) -> None:
    """How many they are, how many there were, and how old that is."""
    span, earlier = times
    one, was = whole(counts), whole(before)
    with st.container(horizontal=True):
        change = analysis.change(one.users, was.users) if earlier else None
        st.metric(
            say("Users"), number(one.users), change, delta_color="off", border=True, width=220, help=say(COUNT_HELP)
        )
        if earlier:
            st.metric(say("Users before"), number(was.users), border=True, width=220)
        mean = analysis.mean(one)
        text = say("{n} years", n=decimal(mean, 2)) if mean is not None else views.UNKNOWN
        st.metric(say("Mean age"), text, border=True, width=220)
    time = analysis.told(span) + (" · " + say("before: {time}", time=analysis.told(earlier)) if earlier else "")
    now = datetime.now(UTC)
    if earlier and span.last > now:
        time += " · " + say("its last day still runs, and is compared with whole days")
    if newest:
        time = say(
            "{time} · as of {at}, {age} ago", time=time, at=views.at(newest, viewer.zone()), age=views.age(newest, now)
        )
    st.caption(time, help=say(AS_OF_HELP))


def show_cross(table: pa.Table, chosen: Choice) -> None:
    """The one dimension, or the two against each other."""
    names = [say(TITLES[name]) for name in chosen.dimensions]
    title = say("{one} by {other}", one=names[0], other=names[1].lower()) if len(names) > 1 else names[0]
    st.subheader(title, anchor=False)
    rows, columns = (len(set(table[name].to_pylist())) for name in ("value", "column"))
    words = say("Chart: users by {dimensions}; the table below has the numbers.", dimensions=title)
    if len(names) == 1:
        chart = charts.shares(rows)
    elif GENDER in chosen.dimensions:
        chart = charts.grouped(rows, columns)
    else:
        chart = charts.heat(rows, wide=chosen.dimensions[1] == COUNTRY)
    st.vega_lite_chart(table, chart, width="stretch", key=f"cross-{'-'.join(chosen.dimensions)}", alt=words)


def show_change(table: pa.Table) -> None:
    """What part of all each value was before, and is now."""
    st.subheader(say("Change of shares, in points"), help=say(CHANGE_HELP), anchor=False)
    words = say("Bars: by how many points each share has changed.")
    st.vega_lite_chart(table, charts.change(table.num_rows), width="stretch", key="change", alt=words)


def show_time(table: pa.Table, span: Span) -> None:
    """The largest values over time."""
    per = say("Users per minute") if span.step == "minute" else say("Users per day")
    st.subheader(per, help=say(TIME_HELP, n=analysis.LINES), anchor=False)
    words = say("Lines: users over time, of the largest values.")
    chart = charts.timeline("%H:%M", 60_000) if span.step == "minute" else charts.timeline("%d.%m.", 86_400_000)
    st.vega_lite_chart(table, chart, width="stretch", key=f"time-{span.step}", alt=words)


def show_table(table: pa.Table, chosen: Choice) -> None:
    """The numbers, and their files."""
    st.subheader(say("The numbers"), anchor=False)
    percents = {name: st.column_config.NumberColumn(format="percent") for name in (say("Share"), say("Share before"))}
    points = {name: st.column_config.NumberColumn(format="%.2f") for name in (say("Mean age"), say("Change in points"))}
    whole_ = {name: st.column_config.NumberColumn(format="localized") for name in (say("Users"), say("Users before"))}
    st.dataframe(table, hide_index=True, column_config=percents | points | whole_, key="table", height=420)
    name = f"vigie-{'-'.join(chosen.dimensions)}-{chosen.range}"
    with st.container(horizontal=True):
        for kind, made, mime in (("csv", analysis.as_csv, "text/csv"), ("parquet", analysis.as_parquet, PARQUET)):
            st.download_button(
                say("Download {kind}", kind=kind.upper() if kind == "csv" else "Parquet"),
                partial(made, table),
                f"{name}.{kind}",
                mime,
                key=f"download-{kind}",
                on_click="ignore",
                icon=":material/download:",
            )


PARQUET = "application/vnd.apache.parquet"
NOBODY_HERE = word("Nobody in this time under these filters.")
COUNT_HELP = word(
    "From Cassandra, `totals` (a day each) or `stats_by_minute`: users counted alike in country, gender, age band and "
    "nationality. Days are days in UTC, of the time at which the brokers took the users in."
)
AS_OF_HELP = word("The newest user in Cassandra's sums was fetched then.")
CHANGE_HELP = word("Each value's share of this time's users, less its share of the users of the time before.")
TIME_HELP = word("The {n} largest values of the first dimension. A day or minute that still runs is lower.")


def main() -> None:
    """The page."""
    st.title(say("Analyse"), anchor=False)
    try:
        connection()
    except settings.WrongSetting as error:
        st.error(say("A setting is wrong: {why}", why=error), icon=":material/settings:")
        return
    st.fragment(analyse, run_every=EVERY, key="analyse")(choose())


if __name__ == "__main__":
    main()
