"""
The drills page: verdicts, how long recovery took each time, the reports; and, where the settings allow, a button.

All is read from what `make drill` leaves in the state folder; nothing of it is asked of the running system.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from dashboard import history, process, viewer, views
from dashboard.history import PASS, Line
from dashboard.runner import Busy, Runner
from dashboard.words import say, word
from observability import settings

EXPERIMENTS = settings.ROOT / "chaos" / "experiments"
EVERY = "5s"


@dataclass(frozen=True)
class Settings:
    """Where drills leave what they found, and whether the page may run one."""

    state: Path
    drill_button: bool


@st.cache_resource(show_spinner=False)
def wanted() -> Settings:
    return settings.read(Settings, settings.environ())


@st.cache_resource(show_spinner=False)
def runs() -> Runner:
    """The process's runner, for all viewers."""
    return Runner(folder())


def folder() -> Path:
    return wanted().state / "drills"


@st.cache_data(ttl=4, max_entries=1, show_spinner=False)
def lines() -> tuple[Line, ...] | str:
    """The history, read once however many look; why it cannot be read."""
    try:
        return history.read(folder())
    except OSError as error:
        return error.strerror or type(error).__name__


@st.cache_data(ttl=60, max_entries=1, show_spinner=False)
def experiments() -> tuple[history.Drill, ...]:
    """What can be run."""
    return history.experiments(EXPERIMENTS)


@st.fragment(run_every=EVERY)
@process.run_of("drills")
def verdicts() -> None:
    """The latest verdicts, the recovery times and the reports."""
    found = lines()
    if isinstance(found, str):
        st.error(say("The drills' history cannot be read: {why}.", why=views.plain(found)), icon=":material/cloud_off:")
        return
    if not found:
        st.info(say(NONE_YET), icon=":material/hourglass_empty:")
        return
    last = history.latest(found)
    with st.container(horizontal=True):
        passed = sum(1 for line in last if line.verdict == PASS)
        st.metric(
            say("Drills that pass"), say("{n} of {all}", n=passed, all=len(last)), help=say(PASS_HELP), border=True
        )
        users = sum((line.lost or 0) + (line.doubled or 0) for line in last)
        st.metric(say("Users lost or doubled"), f"{users:,}", help=say(LOST_HELP), border=True)
        times = sorted(line.recover_s for line in last if line.recover_s is not None)
        slowest = history.seconds(times[-1] if times else None)
        st.metric(say("Slowest recovery"), slowest, help=say(RECOVERY_HELP), border=True)
        newest = views.age(found[-1].at, datetime.now(UTC))
        st.metric(say("Last drill"), say("{time} ago", time=newest), help=f"{found[-1].name}", border=True)
    st.subheader(say("Latest verdicts"), help=say(VERDICT_HELP), anchor=False)
    headings = [say("Drill"), say("Verdict"), say("When (UTC)"), say("Lost"), say("Doubled")]
    headings += [say("Seen after"), say("Recovered after"), say("What")]
    st.table(history.table(last, headings), border="horizontal", hide_index=True)
    recovery(found)
    report(found)


def recovery(found: tuple[Line, ...]) -> None:
    """Each drill's recovery times, and one of them over time."""
    st.subheader(say("Recovery times"), help=say(RECOVERY_HELP), anchor=False)
    measured = [line for line in found if line.recover_s is not None]
    if not measured:
        st.caption(say("No drill has been measured yet."))
        return
    names = sorted({line.name for line in measured})
    took = say("seconds until the promise held again")
    every = say("All drills")
    picked = st.selectbox(say("Drill"), [every, *names], key="drills-name")
    if picked in names:
        table = history.recoveries(line for line in measured if line.name == picked)
        st.vega_lite_chart(table, history.over_time(took), width="stretch", key="drills-one")
    else:
        st.vega_lite_chart(
            history.recoveries(measured), history.chart(len(names), took), width="stretch", key="drills-all"
        )


def report(found: tuple[Line, ...]) -> None:
    """One report, as it was written."""
    there = history.reports(folder(), found)
    st.subheader(say("Reports"), anchor=False)
    if not there:
        st.caption(say("There are no reports in {folder}.", folder=f"`{folder()}`"))
        return
    picked = st.selectbox(
        say("Report"),
        list(there),
        index=None,
        placeholder=say("Choose one"),
        format_func=lambda name: f"{there[name].at:%Y-%m-%d %H:%M}  {there[name].name}  {there[name].verdict}",
        key="drills-report",
    )
    if picked is None or picked not in there:
        return
    try:
        text = (folder() / picked).read_text()
    except OSError as error:
        st.error(say("The report cannot be read: {why}.", why=error.strerror), icon=":material/error:")
        return
    st.download_button(say("Download"), text, picked, "text/html", icon=":material/download:", on_click="ignore")
    with st.container(border=True):
        st.iframe(text, height=900)


@st.fragment(run_every="2s")
def button() -> None:
    """What runs one: nothing without the setting."""
    st.subheader(say("Run a drill"), anchor=False)
    if not wanted().drill_button:
        st.caption(say(NO_BUTTON))
        return
    drills = experiments()
    if not drills:
        st.caption(say("There are no experiments here to run."))
        return
    last = runs().last
    running = last is not None and last.code is None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        titles = {drill.name: f"{drill.name}: {drill.title}" for drill in drills}
        name = st.selectbox(
            say("Drill"), list(titles), format_func=titles.__getitem__, key="drills-pick", disabled=running
        )
        sure = st.checkbox(say("Break the running system"), key="drills-sure", disabled=running)
        if st.button(say("Run"), icon=":material/bolt:", disabled=running or not sure, key="drills-run"):
            press(name)
        if st.button(say("Stop"), icon=":material/stop:", disabled=not running, key="drills-stop"):
            runs().stop(who())
    show_progress()


def press(name: str) -> None:
    """Start it, or say why not."""
    try:
        runs().start(name, who())
    except Busy as busy:
        st.warning(say("{name} runs already.", name=str(busy)), icon=":material/hourglass:")
    except OSError as error:
        st.error(say("It cannot be started: {why}.", why=error.strerror), icon=":material/error:")


def show_progress() -> None:
    """What the last one says."""
    last = runs().last
    if last is None:
        return
    began = say(
        "{name}, pressed at {moment} by {who}", name=last.name, moment=views.at(last.since, viewer.zone()), who=last.who
    )
    if last.code is None:
        st.caption(f":material/bolt: {began}: {say('runs since {age}', age=views.age(last.since, datetime.now(UTC)))}")
    else:
        st.caption(f"{began}: {say(CODES.get(last.code, ENDED), code=last.code)}")
    st.code(runs().words() or "…", language=None, wrap_lines=True, height=240)


def who() -> str:
    """Who pressed, as far as it is known: the address that the browser came from."""
    return st.context.ip_address or "this machine"


NONE_YET = word("No drill has been run yet: `make drill NAME=broker-kill` breaks a broker and counts the users.")
NO_BUTTON = word("`make drill NAME=…` runs one. The setting VIGIE_DRILL_BUTTON=1 puts a button here.")
PASS_HELP = word("By the last run of each drill that was ever run here.")
LOST_HELP = word("In the last run of each drill: sets of ids, by the source's seed, MongoDB and the topic.")
RECOVERY_HELP = word(
    "From the fault's end until a user fetched after it was in both stores, and nobody was later than 10 s any more."
)
VERDICT_HELP = word("What did not pass stands on top. A dash: the drill was stopped before it could be measured.")
ENDED = word("ended with code {code}")
CODES = {
    0: word("PASS"),
    1: word("FAIL, or it was stopped"),
    2: word("nothing was broken: see what it says"),
}


def main() -> None:
    """The page."""
    st.title(say("Drills"), anchor=False)
    st.caption(say("What was broken on purpose, who was lost by it, and how long it took to be well again."))
    try:
        wanted()
    except settings.WrongSetting as error:
        st.error(say("A setting is wrong: {why}", why=error), icon=":material/settings:")
        return
    button_place = st.container()
    verdicts()
    with button_place:
        button()


if __name__ == "__main__":
    main()
