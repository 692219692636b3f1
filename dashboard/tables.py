"""The operations page's tables and badges: values in, tables of Markdown cells out. Nothing here asks or reads."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from pathlib import PurePosixPath

import pyarrow as pa

from dashboard.answers import STALE_AFTER, URGENT, sentence, severity
from dashboard.board import LANES, Board
from dashboard.prometheus import FIRING, Alert, Point, Target
from dashboard.stores import Down
from dashboard.views import UNKNOWN, Badge, age, at, number, plain, span
from dashboard.words import say, word
from spark.contract import RAW, STATS

WORD = re.compile(r"[A-Za-z0-9-]+")
ALERT = word("alert")
SEVERITIES = {URGENT: word("page"), "ticket": word("ticket")}
STATES = {"firing": word("firing"), "pending": word("pending")}
SHOWN = 12  # alerts; of more, the rest is said in one line
STORES = {RAW: ("mongodb", "MongoDB"), STATS: ("cassandra", "Cassandra")}
HOPS = {  # the auditor's checks in the order of the way: what the hop is, and what must be equal there
    "ingestion": (word("Fetched, as ingestion counts"), word("known, set aside, sent or waiting")),
    "dead_letters": (word("Set aside"), word("sent = on users.dlq")),
    "topic": (word("On users.raw"), word("sent = on users.raw")),
    "read_raw": (word("Read by the raw lane"), word("read = on users.raw")),
    "stored": (word("In MongoDB"), word("stored, copy, poison or canary")),
    "read_stats": (word("Read by the stats lane"), word("read = on users.raw")),
    "summed": (word("In Cassandra's sums"), word("summed, copy, poison or canary")),
}


def alerts(board: Board, suppressed: Iterable[Mapping[str, str]], now: datetime, zone: tzinfo) -> pa.Table:
    """One row an alert, what broke first on top."""
    held = [dict(labels) for labels in suppressed]
    shown = board.broken[:SHOWN]
    return _table(
        {
            say("Alert"): [f"**{plain(alert.name)}**" for alert in shown],
            say("State"): [state(alert, held) for alert in shown],
            say("Since"): [ago_at(alert.since, now, zone) for alert in shown],
            say("What"): [plain(alert.annotations.get("summary", "")) for alert in shown],
            say("Where"): [where(alert) for alert in shown],
            say("Runbook"): [runbook(alert) for alert in shown],
        }
    )


def ago_at(then: datetime, now: datetime, zone: tzinfo) -> str:
    return say("{moment}, {age} ago", moment=at(then, zone), age=age(then, now))


def state(alert: Alert, held: list[dict[str, str]]) -> str:
    """Severity and state as one badge; an alert that the Alertmanager tells nobody of says so."""
    colour = "gray" if alert.state != FIRING else "red" if severity(alert) == URGENT else "orange"
    said = f"{say(SEVERITIES.get(severity(alert), ALERT))}, {say(STATES.get(alert.state, alert.state))}"
    said += f", {say('silenced')}" if dict(alert.labels) in held else ""
    return f":{colour}-badge[{plain(said)}]"


def where(alert: Alert) -> str:
    """The labels that tell two alerts of one name apart; who measured it is not among them."""
    known = {"alertname", "severity", "part", "job", "instance"}
    found = [f"{name} {value}" for name, value in sorted(alert.labels.items()) if name not in known and value]
    part = alert.labels.get("part", "")
    return plain(", ".join([*([part] if part else []), *found][:3])) or UNKNOWN


def runbook(alert: Alert) -> str:
    """The link to the runbook that the alert's annotation names, which our own page shows."""
    file, _, heading = alert.annotations.get("runbook", "").partition("#")
    name = PurePosixPath(file).stem
    if not WORD.fullmatch(name):
        return UNKNOWN
    return f"[{name}](/runbook?name={name}{f'#{heading}' if WORD.fullmatch(heading) else ''})"


def more_alerts(board: Board) -> str | None:
    """The line for the alerts beyond SHOWN."""
    left = len(board.broken) - SHOWN
    return say("and {n} more alerts", n=left) if left > 0 else None


def promises(board: Board) -> pa.Table:
    """One row an objective: how it was kept in each window, and what is left of the week's budget."""
    watched = board.value("watched_1h")
    hour = kept(board.value("late_1h"))
    if hour != UNKNOWN and watched is not None and watched < 0.99:
        hour += say(" ({n} min watched)", n=f"{watched * 60:.0f}")
    wrong = board.value("wrong_users")
    return _table(
        {
            say("Promise"): [
                say("99 % of users in both stores within 10 s"),
                say("Every user stored once and summed once"),
            ],
            say("Over 5 min"): [
                kept(board.value("late_5m")),
                UNKNOWN if wrong is None else say("{n} wrong now", n=gap(wrong)),
            ],
            say("Over 1 hour"): [hour, ""],
            say("Over 7 days"): [kept(board.value("late_7d")), ""],
            say("Budget left of 7 days"): [budget(board.value("fresh_budget")), budget(board.value("complete_budget"))],
        }
    )


def kept(late: float | None) -> str:
    """The share that was in time, which must not be rounded up to all of it."""
    if late is None:
        return UNKNOWN
    share = int((1 - late) * 10_000 + 1e-6) / 100
    return f"{share:.2f} %" if late <= 0.01 else f":red[**{share:.2f} %**]"


def budget(left: float | None) -> str:
    if left is None:
        return UNKNOWN
    text = f"{100 * left:,.1f} %"
    return f":green[{text}]" if left > 0.25 else f":orange[{text}]" if left > 0 else f":red[**{text}**]"


def hops(board: Board) -> pa.Table:
    """One row a hop, in the order of the way: what passes, what is on its way, and what lacks."""
    checks = list(HOPS)
    return _table(
        {
            say("Hop"): [say(HOPS[check][0]) for check in checks],
            say("Users/s"): [decimal(board.value("rate", check=check)) for check in checks],
            say("In flight"): [whole(board.value("in_flight", check=check)) for check in checks],
            say("Lost"): [gap(board.value("gap", check=check)) for check in checks],
            say("Must be"): [f":gray[{say(HOPS[check][1])}]" for check in checks],
        }
    )


def gap(users: float | None) -> str:
    """None lost, some lost, or some too many."""
    if users is None:
        return UNKNOWN
    if not users:
        return ":green[0]"
    return f":red[**{number(int(users))}**]" if users > 0 else f":red[**{say('{n} too many', n=number(int(-users)))}**]"


def lanes(board: Board) -> pa.Table:
    """One row a lane: does it run, how far behind is it, how long do its users take, does the canary come through."""
    return _table(
        {
            say("Lane"): [f"{lane} → {STORES[lane][1]}" for lane in LANES],
            say("Runs"): [runs(board.value("lane_up", lane=lane)) for lane in LANES],
            say("Unread for"): [seconds(board.value("behind", lane=lane)) for lane in LANES],
            "p50": [seconds(board.value("p50", lane=lane)) for lane in LANES],
            "p95": [seconds(board.value("p95", lane=lane)) for lane in LANES],
            say("Newest user"): [ago(board.value("newest_user", store=STORES[lane][0])) for lane in LANES],
            say("Canary"): [ago(board.value("canary_age", store=STORES[lane][0])) for lane in LANES],
            say("Canary took"): [seconds(board.value("canary_passage", store=STORES[lane][0])) for lane in LANES],
        }
    )


def runs(up: float | None) -> str:
    return UNKNOWN if up is None else f":green[{say('yes')}]" if up else f":red[**{say('no')}**]"


def seconds(value: float | None) -> str:
    return UNKNOWN if value is None else span(value)


def ago(value: float | None) -> str:
    return UNKNOWN if value is None else say("{time} ago", time=span(value))


def decimal(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.1f}"


def whole(value: float | None) -> str:
    return UNKNOWN if value is None else number(int(value))


def notes(board: Board) -> str | None:
    """Why nothing comes, where there is a reason that is no fault, and what waits on disk."""
    said = [
        say("fetching waits: {reason}", reason=reason.replace("_", " ")) for reason in board.having("paused", "reason")
    ]
    said += [
        say("the source's circuit breaker is {state}", state=state.replace("_", " "))
        for state in board.having("breaker", "state")
    ]
    said += [say("every page that was asked for is fetched")] if board.values.get("done") else []
    said += [say("the auditor hears nothing from {part}", part=part) for part in board.having("silent", "part")]
    waiting = sum(one.value or 0 for one in board.values.get("outbox", ()))
    said += [say("{n} messages wait in the outbox", n=number(int(waiting)))] if waiting else []
    return sentence(said) or None


def delays(points: Iterable[Point]) -> pa.Table:
    """One row a point: `at`, `seconds`, `lane`, `quantile`."""
    rows = list(points)
    return pa.table(
        {
            "at": pa.array([point.at for point in rows], pa.timestamp("ms", "UTC")),
            "seconds": pa.array([point.value for point in rows], pa.float64()),
            "lane": pa.array([point.labels.get("lane", "") for point in rows], pa.string()),
            "quantile": pa.array([point.labels.get("quantile", "") for point in rows], pa.string()),
        }
    )


def processes(targets: Iterable[Target]) -> tuple[Badge, ...]:
    """One badge a job: those that do not answer first, with why."""
    jobs: dict[str, list[Target]] = {}
    for target in targets:
        jobs.setdefault(target.job, []).append(target)
    badges = [of_job(job, of_it) for job, of_it in sorted(jobs.items())]
    return tuple(sorted(badges, key=lambda badge: ("red", "gray", "green").index(badge.colour)))


def of_job(job: str, targets: list[Target]) -> Badge:
    """A job by its worst target."""
    up = [target for target in targets if target.health == "up"]
    down = [target for target in targets if target.health == "down"]
    share = "" if len(targets) == 1 else say(" {n} of {all}", n=len(up), all=len(targets))
    if down:
        why = plain(reason(down[0])) or say("no answer")
        return Badge(f"{job}{share or say(' down')}: {why}", "red", ":material/cancel:")
    if len(up) < len(targets):
        return Badge(f"{job}{share}: {say('not asked yet')}", "gray", ":material/hourglass_empty:")
    return Badge(f"{job}{share}", "green", ":material/check_circle:")


def reason(target: Target) -> str:
    """The end of what Prometheus says of a target that it could not ask; before it stands the address."""
    return target.error.rpartition('": ')[2]


def as_of(board: Board | Down, now: datetime, zone: tzinfo) -> Badge:
    """How old the numbers on the page are."""
    if isinstance(board, Down):
        text = say("{store} unavailable since {moment}", store=board.store, moment=at(board.since, zone))
        return Badge(text, "red", ":material/cloud_off:")
    if board.as_of is None:
        return Badge(say("No numbers yet"), "gray", ":material/hourglass_empty:")
    if now - board.as_of > STALE_AFTER:
        text = say("Nothing newer than {moment}", moment=ago_at(board.as_of, now, zone))
        return Badge(text, "orange", ":material/warning:")
    return Badge(say("As of {moment}", moment=ago_at(board.as_of, now, zone)), "green", ":material/check_circle:")


def _table(columns: Mapping[str, Iterable[str]]) -> pa.Table:
    return pa.table({name: pa.array(list(cells), pa.string()) for name, cells in columns.items()})
