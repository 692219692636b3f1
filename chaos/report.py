"""The report of one drill: a single HTML file without scripts, readable offline, with the timeline as drawings."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from chaos import watch
from chaos.alerts import WATCHDOG
from chaos.drawing import Frame, Points, bars, chart
from chaos.drill import Outcome
from chaos.verdict import LATE_S
from chaos.watch import Note

BEFORE_S = 30  # of the time before the fault that is shown
EARLIER = 9  # runs that are listed
FIRING, PENDING = "#a31621", "#e8b4b8"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 960px; margin: 2em auto; padding: 0 1em; color: #1c2733; }
h1 { font-size: 1.5em; margin-bottom: 0; } h2 { font-size: 1.05em; margin: 1.6em 0 .3em; }
.PASS { color: #1d6b3f; } .FAIL { color: #a31621; } .STOPPED { color: #8a5a00; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .15em 1.2em .15em 0; vertical-align: top; }
svg { display: block; width: 100%; } text { font: 11px system-ui, sans-serif; fill: #4a5866; }
"""

Line = Mapping[str, Any]


def html(outcome: Outcome, line: Line, earlier: Sequence[Line]) -> str:
    """The whole page."""
    drill, window, notes = outcome.drill, outcome.window, outcome.notes
    frame = Frame(window.began - BEFORE_S, window.until, [(window.began, window.ended)])
    word = line["verdict"]
    parts = [
        f"<h1>{escape(drill.title)}: <span class='{word}'>{word}</span></h1>",
        f"<p>{datetime.fromtimestamp(window.began, UTC):%Y-%m-%d %H:%M:%S} UTC, drill {escape(drill.name)}. ",
        f"{escape(str(drill.experiment['description']))}</p>",
        "".join(f"<p class='{word}'>{escape(one)}</p>" for one in line["failed"]),
        figures(line),
        "<p>Shaded: the fault.</p><h2>Alerts, pale while pending</h2>" + bars(frame, alerts(notes)),
        chart(frame, "Throughput, users/s", metric(notes, "fetched", "acknowledged", "read raw", "read stats")),
        chart(frame, "Lag of the lanes, s", metric(notes, "behind raw", "behind stats")),
        chart(frame, "Age of the newest user, s", noted(notes, "age", watch.MONGODB, watch.CASSANDRA), LATE_S),
        chart(frame, "Messages waiting in the outbox", noted(notes, "rows", watch.OUTBOX)),
        chart(frame, "The dashboard's answers, ms; a gap is none", noted(notes, "ms", watch.PAGE)),
        "<h2>What was done</h2>" + steps(outcome),
        "<h2>Runs, the last below</h2>" + runs([*earlier[-EARLIER:], line]),
    ]
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(drill.name)}: {word}</title>"
        f"<style>{STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def figures(line: Line) -> str:
    """The verdict's numbers; nothing for a drill that was stopped."""
    if "lost" not in line:
        return ""
    counted = ", ".join(
        "?" if line[word] is None else str(line[word]) for word in ("lost", "doubled", "phantom", "wrong")
    )
    return table(
        [
            ("lost, doubled, made up, wrong sums", counted),
            ("seen by", line["seen"] or "nobody"),
            (
                "from the fault to the alert pending, firing",
                f"{seconds(line['pending_s'])}, {seconds(line['detect_s'])}",
            ),
            ("from its end until the promise held", seconds(line["recover_s"])),
            ("from its end until the alert was silent", seconds(line["cleared_s"])),
            (f"users later than {LATE_S:.0f} s", f"{line['delayed']:,}, by {line['slowest_s']:.0f} s at most"),
            ("backlog at most", f"{line['backlog']:,} messages"),
            ("alerts that nobody expected", ", ".join(line["noise"]) or "none"),
            ("load of the machine at most", f"{line['load']:.1f}"),
            ("the page said", " ".join(line["page"]) or "nothing special"),
        ]
    )


def steps(outcome: Outcome) -> str:
    """Every activity, by seconds from the fault's begin."""
    return table(
        (
            f"{datetime.fromisoformat(one['start']).timestamp() - outcome.window.began:+.1f} s",
            one["activity"]["name"],
            one.get("status", "interrupted"),
            str(one["output"] or "")[:300],
        )
        for one in [*outcome.journal["run"], *outcome.journal["rollbacks"]]
    )


def runs(lines: Iterable[Line]) -> str:
    head = ("when", "verdict", "seen by", "to detect", "to recover")
    times = ("detect_s", "recover_s")
    cells = (
        (one["at"], one["verdict"], one.get("seen", ""), *(seconds(one.get(key)) for key in times)) for one in lines
    )
    return table(cells, head)


def table(lines: Iterable[Sequence[Any]], head: Sequence[str] = ()) -> str:
    shown = "".join(f"<th>{escape(word)}</th>" for word in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><tr>{shown}</tr>{body}</table>"


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def metric(notes: Sequence[Note], *names: str) -> dict[str, Points]:
    """The series of these words of watch.QUESTIONS."""
    return {
        name: [(n.at, n.values[name]) for n in notes if n.source == watch.METRICS and name in n.values]
        for name in names
    }


def noted(notes: Sequence[Note], key: str, *sources: str) -> dict[str, Points]:
    """One series a source, of one of its values."""
    return {one: [(n.at, n.values[key]) for n in notes if n.source == one and key in n.values] for one in sources}


def alerts(notes: Sequence[Note]) -> dict[str, list[tuple[float, str]]]:
    """When each alert was pending and firing."""
    found: dict[str, list[tuple[float, str]]] = {}
    for note in notes:
        if note.source == watch.ALERTS and watch.DOWN not in note.values:
            for state, colour in (("pending", PENDING), ("firing", FIRING)):
                for name in set(note.values[state]) - {WATCHDOG}:
                    found.setdefault(name, []).append((note.at, colour))
    return found
