"""
What a drill leaves in the state folder's `drills/`: a journal (JSON), a report (HTML), and a line in history.jsonl.

history.jsonl  {"at", "name", "number", "title", "verdict", "lost", "doubled", "phantom", "wrong", "detect_s",
               "recover_s", "cleared_s", "delayed", "slowest_s", "backlog", "seen", "noise", "load",
               "page", "failed", "report"}
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from chaos import report, watch
from chaos.drill import Outcome
from chaos.target import Target

HISTORY = "history.jsonl"
COUNTED = {"lost": "lost", "doubled": "doubled", "phantom": "made up", "wrong": "wrong sums"}
TIMES = {"detect_s": "seen", "recover_s": "recovered", "cleared_s": "cleared"}
SAID = 6  # sentences of the page that are kept
SLOWER = 1.5  # times the median of the earlier ones, and by more than SLOWER_S, is slower
SLOWER_S = 5.0

Line = dict[str, Any]


def folder(target: Target) -> Path:
    made = target.settings.state / "drills"
    made.mkdir(parents=True, exist_ok=True)
    return made


def keep(outcome: Outcome, target: Target) -> Line:
    """Write journal, report and history; return the history's line."""
    at = datetime.fromtimestamp(outcome.window.began, UTC)
    stem = folder(target) / f"{at:%Y%m%dT%H%M%S}-{outcome.drill.name}"
    earlier = history(target, outcome.drill.name)
    line = summary(outcome) | {"report": stem.with_suffix(".html").name}
    stem.with_suffix(".json").write_text(json.dumps(journal(outcome), default=str, separators=(",", ":")))
    stem.with_suffix(".html").write_text(report.html(outcome, line, earlier))
    with (folder(target) / HISTORY).open("a") as file:
        file.write(json.dumps(line) + "\n")
    return line


def journal(outcome: Outcome) -> dict[str, Any]:
    """Everything: Chaos Toolkit's journal, our verdict with every id, and all that was noted."""
    return outcome.journal | {
        "name": outcome.drill.name,
        "bounds": asdict(outcome.drill.bounds),
        "window": asdict(outcome.window),
        "stopped": outcome.stopped,
        "verdict": outcome.verdict and {"word": outcome.verdict.word, **asdict(outcome.verdict)},
        "notes": [[round(note.at, 2), note.source, note.values] for note in outcome.notes],
    }


def summary(outcome: Outcome) -> Line:
    """One line of the history."""
    found, drill = outcome.verdict, outcome.drill
    line: Line = {
        "at": datetime.fromtimestamp(outcome.window.began, UTC).isoformat(timespec="seconds"),
        "name": drill.name,
        "number": drill.number,
        "title": drill.title,
        "verdict": found.word if found else "STOPPED",
        "failed": list(found.failed) if found else [outcome.stopped],
    }
    if found is None:
        return line
    return line | {
        **{word: None if word in found.users.unknown else len(getattr(found.users, word)) for word in COUNTED},
        "seen": found.alerts.seen,
        "pending_s": found.alerts.pending_s,
        "detect_s": found.alerts.detect_s,
        "recover_s": found.flow.recover_s,
        "cleared_s": found.alerts.cleared_s,
        "delayed": found.flow.delayed,
        "slowest_s": found.flow.slowest_s,
        "backlog": found.flow.backlog,
        "noise": sorted(found.alerts.unexpected),
        "load": max((note.values.get("load", 0.0) for note in outcome.notes if note.source == watch.DISK), default=0.0),
        "page": list(found.page.says)[:SAID],
    }


def history(target: Target, name: str = "") -> list[Line]:
    """The lines of earlier drills (of one of them), oldest first; a line that is none is left out."""
    file = folder(target) / HISTORY
    found = []
    for text in file.read_text().splitlines() if file.is_file() else []:
        try:
            found.append(json.loads(text))
        except ValueError:  # a run that was killed while it wrote
            continue
    return [line for line in found if name in ("", line["name"])]


def slower(line: Line, earlier: Sequence[Line]) -> str:
    """A sentence if the promise took longer to hold again than it usually did."""
    times = sorted(one["recover_s"] for one in earlier if one.get("recover_s") is not None)
    now = line.get("recover_s")
    if not times or now is None:
        return ""
    usual = times[len(times) // 2]
    if now > usual * SLOWER and now > usual + SLOWER_S:
        return (
            f"slower than usual: {now:.0f} s until the promise held, {usual:.0f} s the median of {len(times)} earlier"
        )
    return ""


def mark(outcome: Outcome, line: Line, target: Target) -> bool:
    """Mark the fault in a Grafana, if one answers where we look for it; whether it took the mark."""
    note = {
        "time": int(outcome.window.began * 1000),
        "timeEnd": int(outcome.window.ended * 1000),
        "tags": ["drill", outcome.drill.name, line["verdict"]],
        "text": f"{outcome.drill.title}: {line['verdict']}",
    }
    try:
        address = f"{target.settings.grafana}/api/annotations"
        return requests.post(address, json=note, timeout=3).ok
    except requests.RequestException:
        return False
