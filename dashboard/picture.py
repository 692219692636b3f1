"""
The pipeline as a picture: hop by hop with rate, lag and health, from what Prometheus knows. Board in, HTML out.

Boxes in a line that wraps where there is no room; only the page's own text colour and shades that stand out on light
and on dark. Health is a sign and a word, never a colour alone.
"""

from dataclasses import dataclass
from html import escape

from dashboard.answers import PROMISED_S, VERY_LATE_S
from dashboard.board import Board
from dashboard.tables import STORES, decimal
from dashboard.views import UNKNOWN, number, span
from dashboard.words import say, word
from spark.contract import RAW, STATS

OK, WATCH, BROKEN, DARK = "ok", "watch", "broken", "dark"
SIGNS = {  # by health: the sign, the word, the ink
    OK: ("●", word("well"), "#1a8f6a"),
    WATCH: ("▲", word("look here"), "#c77700"),
    BROKEN: ("■", word("broken"), "#d5482a"),
    DARK: ("○", word("not known"), "#808a94"),
}
WORST = (BROKEN, WATCH, DARK, OK)
STYLE = """
<style>
.way, .way .fork, .way .lane { display: flex; gap: .35rem; align-items: stretch; flex-wrap: wrap; }
.way { align-items: center; }
.way .fork { flex-direction: column; flex: 3 1 24rem; }
.way .lane { flex-wrap: nowrap; align-items: center; }
.way .hop { border: 1px solid; border-left-width: 5px; border-radius: .4rem; padding: .45rem .6rem; flex: 1 1 8.2rem;
  min-width: 8.2rem; line-height: 1.35; }
.way .hop > * { display: block; }
.way .name { font-weight: 600; } .way .rate { font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.way .more { font-size: .8rem; opacity: .85; } .way .arrow { opacity: .6; font-size: 1.2rem; }
.way .health { font-size: .8rem; font-weight: 600; }
@media (max-width: 640px) { .way > .arrow { width: 100%; text-align: center; transform: rotate(90deg); } }
</style>
"""


@dataclass(frozen=True)
class Hop:
    """One box: what it is, how well it is, how much passes, and what else there is to say."""

    name: str
    health: str
    rate: float | None
    more: tuple[str, ...] = ()


def hops(board: Board) -> tuple[tuple[Hop, ...], tuple[tuple[Hop, ...], ...]]:
    """The hops up to the topic, and then both lanes with their stores."""
    return (source(board), ingestion(board), topic(board)), tuple(
        (lane(board, one), store(board, one)) for one in (RAW, STATS)
    )


def source(board: Board) -> Hop:
    """The API, as ingestion finds it."""
    reasons = [say("waits: {reason}", reason=one.replace("_", " ")) for one in board.having("paused", "reason")]
    breaker = [say("circuit breaker {state}", state=one.replace("_", " ")) for one in board.having("breaker", "state")]
    done = [say("every page is fetched")] if board.values.get("done") else []
    rate = board.value("rate", check="ingestion")
    health = BROKEN if breaker else WATCH if reasons else DARK if rate is None else OK
    return Hop(say("Source"), health, rate, (*breaker, *reasons, *done))


def ingestion(board: Board) -> Hop:
    """Ingestion with its outbox."""
    waiting = sum(one.value or 0 for one in board.values.get("outbox", ()))
    known = "outbox" in board.values
    said = say("{n} wait in the outbox", n=number(int(waiting))) if known else say("outbox not known")
    dead = board.value("rate", check="dead_letters")
    aside = [say("{n}/s set aside", n=decimal(dead))] if dead else []
    health = worst(answers(board, "ingest"), WATCH if waiting > 1000 or dead else OK, lacks(board, "ingestion"))
    return Hop(say("Ingestion"), health, board.value("rate", check="topic"), (said, *aside))


def topic(board: Board) -> Hop:
    """The brokers and their topic."""
    brokers = [target for target in board.targets if target.job == "kafka"]
    up = sum(1 for target in brokers if target.health == "up")
    said = say("{up} of {all} brokers", up=up, all=len(brokers)) if brokers else say("brokers not known")
    flight = board.value("in_flight", check="topic")
    more = [said, *([say("{n} in flight", n=number(int(flight)))] if flight is not None else [])]
    return Hop(
        "Kafka", worst(answers(board, "kafka"), lacks(board, "topic")), board.value("rate", check="topic"), tuple(more)
    )


def lane(board: Board, one: str) -> Hop:
    """A lane of Spark's."""
    up, behind, p95 = board.value("lane_up", lane=one), board.value("behind", lane=one), board.value("p95", lane=one)
    runs = DARK if up is None else OK if up else BROKEN
    more = [say("unread for {age}", age=span(behind)) if behind else say("all is read")] if behind is not None else []
    more += [f"p95 {span(p95)}"] if p95 is not None else []
    health = worst(runs, lateness(behind), lacks(board, f"read_{one}"))
    return Hop(
        say("Raw lane") if one == RAW else say("Stats lane"),
        health,
        board.value("rate", check=f"read_{one}"),
        tuple(more),
    )


def store(board: Board, one: str) -> Hop:
    """A lane's store."""
    key, name = STORES[one]
    check = "stored" if one == RAW else "summed"
    newest, gap = board.value("newest_user", store=key), board.value("gap", check=check)
    more = [say("newest user {age} ago", age=span(newest))] if newest is not None else []
    more += (
        [say("{n} lost", n=number(int(gap))) if gap > 0 else say("{n} too many", n=number(int(-gap)))] if gap else []
    )
    ages = [age for age in (newest, board.value("canary_age", store=key)) if age is not None]  # canaries come always
    silent = BROKEN if key in board.having("silent", "part") else OK
    health = worst(lateness(min(ages, default=None)), silent, lacks(board, check))
    return Hop(name, health, board.value("rate", check=check), tuple(more))


def answers(board: Board, job: str) -> str:
    """By whether Prometheus reaches the job's targets."""
    states = [target.health for target in board.targets if target.job == job]
    if not states:
        return DARK
    if "up" not in states:
        return BROKEN
    return WATCH if "down" in states else OK


def lateness(seconds: float | None) -> str:
    if seconds is None:
        return DARK
    return OK if seconds <= PROMISED_S else WATCH if seconds <= VERY_LATE_S else BROKEN


def lacks(board: Board, check: str) -> str:
    """By what the auditor misses there; a check that is not known says nothing about health."""
    return BROKEN if board.value("gap", check=check) else OK


def worst(*healths: str) -> str:
    return min(healths, key=WORST.index)


def html(board: Board) -> str:
    """The whole picture."""
    first, lanes = hops(board)
    arrow = '<span class="arrow" aria-hidden="true">→</span>'
    forks = "".join(f'<div class="lane">{arrow.join(box(hop) for hop in one)}</div>' for one in lanes)
    return (
        f'{STYLE}<div class="way">{arrow.join(box(hop) for hop in first)}{arrow}<div class="fork">{forks}</div></div>'
    )


def box(hop: Hop) -> str:
    sign, said, ink = SIGNS[hop.health]
    more = "".join(f'<span class="more">{escape(one)}</span>' for one in hop.more)
    rate = f"{decimal(hop.rate)} /s" if hop.rate is not None else UNKNOWN
    health = f'<span class="health" style="color: {ink}">{sign} {escape(say(said))}</span>'
    head = f'<span class="name">{escape(hop.name)}</span><span class="rate">{rate}</span>'
    return f'<div class="hop" style="border-color: {ink}">{head}{health}{more}</div>'
