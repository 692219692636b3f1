"""
The dashboards page: Grafana's own dashboards, drawn from the same JSON and the same PromQL.

`?board=vigie-kafka&range=1h&topic=users.raw` is one view. Only the rows that are open ask anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from dashboard import asking, definitions, jaeger, panels, process, tables, units, viewer, views
from dashboard.asking import Answer, Asked, Asker, Shown, Unanswered
from dashboard.definitions import ALERTS, HEATMAP, LINES, STAT, TABLE, TIMELINE, Board, Panel, Row
from dashboard.operations import wanted
from dashboard.prometheus import Alert
from dashboard.specs import spoken
from dashboard.words import say
from observability import settings

FOLDER = settings.ROOT / "grafana" / "dashboards"
RANGES = {"15m": 900, "1h": 3600, "6h": 21600, "24h": 86400}
SAID = {"15m": "15 min", "1h": "1 h", "6h": "6 h", "24h": "24 h"}
DEFAULT = "15m"
ROOM = 9  # letters of a large number
TILE_PX = 212  # a large number: four of them side by side
DRAWN = {LINES: panels.lines, HEATMAP: panels.heatmap, TIMELINE: panels.timeline}
FORMATS = {"locale": "localized", "short": "localized", "bytes": "bytes", "s": "%.1f s", "percentunit": "percent"}


@st.cache_resource(show_spinner=False)
def boards() -> Mapping[str, Board]:
    """All dashboards, read once."""
    return definitions.read(FOLDER)


@st.cache_resource(show_spinner=False)
def asker() -> Asker:
    """The process's way to Prometheus, shared by all viewers."""
    return Asker(wanted().prometheus_url)


def choose_board(every: Mapping[str, Board]) -> Board:
    """By the address, else the first."""
    uids = list(every)
    there = st.query_params.get("board", "")
    uid = st.selectbox(
        say("Dashboard"),
        uids,
        index=uids.index(there) if there in every else 0,
        format_func=lambda uid: every[uid].title.removeprefix("Vigie: ").capitalize(),
        key="boards-board",
    )
    if uid != there:
        for variable in every[there].variables if there in every else ():
            st.query_params.pop(variable.name, None)
        st.query_params["board"] = uid
    return every[uid]


def choose_length() -> int:
    """How much time is shown, in seconds."""
    there = st.query_params.get("range", DEFAULT)
    picked = st.segmented_control(
        say("Time range"),
        list(RANGES),
        default=there if there in RANGES else DEFAULT,
        format_func=SAID.__getitem__,
        required=True,
        key="boards-range",
    )
    if picked != there:
        st.query_params["range"] = picked
    return RANGES[picked]


def choose_values(board: Board, shown: Shown) -> Shown:
    """A choice of several values for each of the board's variables; none chosen is all."""
    asked = {
        one.name: asking.Values(one.metric, one.label, shown.end - shown.length_s, shown.end)
        for one in board.variables
        if one.metric
    }
    answers = asker().ask(asked.values())
    choices = []
    for variable in board.variables:
        answer = answers[asked[variable.name]] if variable.name in asked else variable.values
        there = st.query_params.get_all(variable.name)
        failed = isinstance(answer, Unanswered)
        options = list(dict.fromkeys([*(() if isinstance(answer, Unanswered) else answer), *there]))
        picked = st.multiselect(
            variable.name.capitalize(),
            options,
            default=there,
            help=variable.says,
            placeholder=say("Prometheus does not answer") if failed else say("All"),
            key=f"boards-{board.uid}-{variable.name}",
        )
        if picked != there:
            st.query_params[variable.name] = picked
        choices.append((variable.name, asking.chosen(variable, picked)))
    return Shown(shown.end, shown.length_s, tuple(choices))


def show_row(row: Row, key: str, shown: Shown, *, first: bool) -> None:
    """A row; closed, it asks nothing."""
    place = st.expander(row.title or say("Dashboard"), expanded=first, key=key, on_change="rerun")
    if place.open:
        with place:
            show_panels(row, key, shown)


@process.run_of("boards")
def show_panels(row: Row, key: str, shown: Shown) -> None:
    """All panels of a row, by answers that are asked for together."""
    shown = replace(shown, end=asking.now())
    asked: dict[int, tuple[Asked, ...]] = {
        panel.id: (asking.Alerts(shown.end),) if panel.kind == ALERTS else asking.questions(panel, shown)
        for panel in row.panels
    }
    answers = asker().ask(one for of_panel in asked.values() for one in of_panel)
    down = any(isinstance(answer, Unanswered) for answer in answers.values())
    process.count_read("prometheus", down=down)
    for line in row.lines:
        show_line(line, asked, answers, key)
    if not down:
        moment = views.at(datetime.fromtimestamp(shown.end, UTC), viewer.zone())
        st.caption(say("As of {moment}.", moment=moment))


def show_line(
    line: Sequence[Panel], asked: Mapping[int, tuple[Asked, ...]], answers: Mapping[Asked, Answer], key: str
) -> None:
    """Panels side by side as in Grafana; numbers wrap where there is no room."""
    if all(panel.kind == STAT for panel in line):
        with st.container(horizontal=True, gap="small"):
            for panel in line:
                show_panel(panel, asked[panel.id], answers, key)
        return
    for place, panel in zip(st.columns([panel.width for panel in line], gap="medium"), line, strict=True):
        with place:
            show_panel(panel, asked[panel.id], answers, key)


def show_panel(panel: Panel, asked: Sequence[Asked], answers: Mapping[Asked, Answer], key: str) -> None:
    """One panel, or in its place why it cannot be shown."""
    found: list[tuple[Any, ...]] = []
    failed: Unanswered | None = None
    for one in asked:
        answer = answers[one]
        if isinstance(answer, Unanswered):
            failed = failed or answer
        else:
            found.append(answer)
    if panel.kind == STAT:
        show_numbers(panel, failed, found)
        return
    st.markdown(f"**{views.plain(panel.title)}**{links(panel)}", help=panel.says)
    if failed:
        st.caption(f":red[:material/cloud_off:] {unanswered(failed)}")
    elif panel.kind == ALERTS:
        show_alerts([one for one in found[0] if isinstance(one, Alert)])
    elif panel.kind == TABLE:
        show_table(panel, list(zip(panel.queries, found, strict=True)), f"{key}-{panel.id}")
    else:
        step = next((one.step_s for one in asked if isinstance(one, asking.Question)), asking.SCRAPED_S)
        show_chart(DRAWN[panel.kind](panel, list(zip(panel.queries, found, strict=True)), step), f"{key}-{panel.id}")


def show_chart(chart: panels.Chart | None, key: str) -> None:
    if chart is None:
        st.caption(say("No data in this time."))
        return
    st.vega_lite_chart(chart.table, spoken(chart.spec), width="stretch", key=key)
    if chart.more:
        st.caption(say("and {n} more series", n=chart.more))


def show_numbers(panel: Panel, failed: Unanswered | None, found: Sequence[Any]) -> None:
    """Large numbers, each with how it came to be."""
    said = f"{panel.says}{links(panel)}"
    if failed:
        st.metric(
            panel.title,
            units.NOTHING,
            help=f"{unanswered(failed)}. {said}",
            icon=":material/cloud_off:",
            border=True,
            width=TILE_PX,
        )
        return
    shown = panels.numbers(panel, list(zip(panel.queries, found, strict=True)))
    if not shown:
        st.metric(panel.title, units.NOTHING, help=said, border=True, width=TILE_PX, height="stretch")
    for one in shown:
        ink = panels.WORDS.get(one.colour, "")
        st.metric(
            panel.title if len(shown) == 1 else f"{one.name}: {panel.title}",
            f":{ink}[{large(one.text)}]" if ink and ink != "blue" else large(one.text),
            icon=panels.ICONS.get(one.colour),
            help=said,
            border=True,
            width=TILE_PX,
            height="stretch",
            chart_data=one.past[-panels.PAST :] if len(set(one.past)) > 1 else None,
            chart_type="area",
            delta_color="off",
        )


def large(text: str) -> str:
    """A number with its unit; a long unit is smaller, so that it has room."""
    number, _, unit = text.partition(" ")
    return f"{views.plain(number)} :small[{views.plain(unit)}]" if len(text) > ROOM else views.plain(text)


def show_table(panel: Panel, found: Sequence[Any], key: str) -> None:
    table = panels.rows(panel, found)
    if table is None:
        st.caption(say("No data in this time."))
        return
    config = {
        column.heading: st.column_config.NumberColumn(format=FORMATS.get(column.unit, "localized"))
        for column in panel.columns
        if column.name.startswith("Value")
    }
    st.dataframe(
        table, width="stretch", height=panel.height * panels.ROW_PX, hide_index=True, column_config=config, key=key
    )


def show_alerts(alerts: Sequence[Alert]) -> None:
    """One line an alert, the oldest first."""
    now = datetime.now(UTC)
    for one in alerts[: tables.SHOWN]:
        since = say("since {moment}, {age}", moment=views.at(one.since, viewer.zone()), age=views.age(one.since, now))
        summary, leads = views.plain(one.annotations.get("summary", "")), tables.runbook(one).strip(views.UNKNOWN)
        st.markdown(f"{tables.state(one, [])} **{views.plain(one.name)}** {since}. {summary} {leads}")
    if not alerts:
        st.caption(say("No alert fires or is about to."))


def unanswered(failed: Unanswered) -> str:
    return say("Prometheus: {why}", why=views.plain(say(failed.why)))


def links(panel: Panel) -> str:
    """Where the panel leads, as Markdown behind its title."""
    here = wanted()
    found = []
    for link in panel.links:
        if link.kind == definitions.RUNBOOKS:
            found.append(f"[{say('runbook')}](/runbook?name={link.to})")
        elif link.kind == definitions.OTHER:
            found.append(f"[{say('more of it')}](/boards?board={link.to})")
        else:
            address = jaeger.searched(here.jaeger_url, f"http://{viewer.host(here.host)}:{here.jaeger_port}", link.to)
            found.append(f"[{say('traces')}]({address})")
    return f" :small[:gray[{' · '.join(found)}]]" if found else ""


def main() -> None:
    """The page."""
    st.title(say("Dashboards"), anchor=False)
    try:
        every = boards()
        asker()
    except definitions.WrongDefinition as error:
        st.error(views.plain(str(error)), icon=":material/error:")
        return
    except settings.WrongSetting as error:
        st.error(say("A setting is wrong: {why}", why=error), icon=":material/settings:")
        return
    if not every:
        st.info(say("There are no dashboards in {folder}.", folder=f"`{FOLDER}`"), icon=":material/folder_off:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        board = choose_board(every)
        length_s = choose_length()
        shown = choose_values(board, Shown(asking.now(), length_s))
        keys = [f"row-{board.uid}-{n}" for n in range(len(board.rows))]
        if st.button(say("Open all rows"), icon=":material/unfold_more:", key="boards-all"):
            st.session_state.update(dict.fromkeys(keys, True))
    st.caption(f"{board.says} {say('The same JSON and PromQL as in Grafana.')}")
    every_s = 10 if length_s <= RANGES["1h"] else 30
    for n, (row, key) in enumerate(zip(board.rows, keys, strict=True)):
        st.fragment(run_every=every_s)(show_row)(row, key, shown, first=n == 0)


if __name__ == "__main__":
    main()
