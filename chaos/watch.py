"""
What is looked at each second while a drill lasts: alerts, flow, lag, freshness, the stores, the page, the guards.

Each source is asked by a thread of its own, so that one that hangs keeps nobody waiting; an answer that does not come
is noted as such. Notes are `(Unix time, source, values)`: numbers, words and lists, as they go into the journal.
"""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import requests
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session

from chaos import viewer
from services import hops
from services.outbox_file import outbox_path
from spark.contract import DATABASE, KEYSPACE, LEDGER, NEWEST_USERS, STATS, Ledger

ALERTS, TOLD, METRICS, MONGODB, CASSANDRA, OUTBOX, PAGE, DISK = SOURCES = (
    "alerts", "told", "metrics", "mongodb", "cassandra", "outbox", "page", "disk",
)  # fmt: skip
PARTS = ("store", "lane", "job", "broker", "topic")  # the labels by which an alert names a part
DOWN = "down"  # the key of a note of which there is no answer; its value says why
SETTLED = "settled"  # 1 once Prometheus lets alerts fire
PATIENCE_S = 2.0
EVERY_S = {ALERTS: 0.5, TOLD: 0.5, DISK: 2.0, PAGE: 2.0}

# What is drawn over the fault's window, by the word in the journal.
QUESTIONS = {
    "fetched": "sum(rate(vigie_users_fetched_total[15s]))",
    "acknowledged": 'sum(rate(vigie_users_acknowledged_total{topic="users.raw"}[15s]))',
    "read raw": 'sum(rate(vigie_lane_rows_total{lane="raw"}[15s]))',
    "read stats": 'sum(rate(vigie_lane_rows_total{lane="stats"}[15s]))',
    "behind raw": 'lane:vigie_behind:seconds{lane="raw"}',
    "behind stats": 'lane:vigie_behind:seconds{lane="stats"}',
    "unread raw": 'sum(vigie_kafka_group_lag_records{group="vigie-raw"})',
    "unread stats": 'sum(vigie_kafka_group_lag_records{group="vigie-stats"})',
    "targets down": "count(up == 0) or vector(0)",
    "gap": "sum(abs(vigie_audit_gap_users))",
    SETTLED: "vigie:watching:settled",
}
UNION = " or ".join(f'label_replace({ask}, "what", "{what}", "", "")' for what, ask in QUESTIONS.items())


class Note(NamedTuple):
    """What one source said at one moment."""

    at: float
    source: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Places:
    """Where to look."""

    hops: hops.Settings
    prometheus: str
    alertmanager: str
    dashboard: str


def alerts(places: Places) -> dict[str, Any]:
    """
    Every alert that Prometheus has as pending or firing, with its severity, and the parts that each names.

    `firing: {name: severity}`, `firing of: {name: [store, lane, job, …]}`, and the same of `pending`.
    """
    found: dict[str, Any] = {"firing": {}, "pending": {}, "firing of": {}, "pending of": {}}
    for one in query(places.prometheus, "ALERTS"):
        labels = one["metric"]
        state, name = labels["alertstate"], labels["alertname"]
        found[state][name] = labels.get("severity", "")
        parts = {labels[what] for what in PARTS if what in labels}
        found[f"{state} of"][name] = sorted(parts.union(found[f"{state} of"].get(name, ())))
    return found


def told(places: Places) -> dict[str, Any]:
    """Every alert that the Alertmanager has: those that somebody is told of, and those that it holds back."""
    answer = requests.get(f"{places.alertmanager}/api/v2/alerts", timeout=PATIENCE_S)
    answer.raise_for_status()
    found: dict[str, dict[str, str]] = {"active": {}, "suppressed": {}}
    for one in answer.json():
        state = one["status"]["state"]
        found.setdefault(state, {})[one["labels"]["alertname"]] = one["labels"].get("severity", "")
    return found


def numbers(places: Places) -> dict[str, Any]:
    """QUESTIONS, in one; what Prometheus does not know is left out."""
    return {one["metric"]["what"]: float(one["value"][1]) for one in query(places.prometheus, UNION)}


def query(prometheus: str, expression: str) -> list[dict[str, Any]]:
    """
    What Prometheus answers now.

    Raises:
        RequestException, ValueError, KeyError: it does not, or refuses.
    """
    answer = requests.get(f"{prometheus}/api/v1/query", {"query": expression}, timeout=PATIENCE_S)
    return list(answer.json()["data"]["result"])


def of_mongodb(places: Places) -> Callable[[], dict[str, Any]]:
    """How old the newest user of MongoDB is; the connection is kept."""
    client = hops.mongo(places.hops, PATIENCE_S)

    def ask() -> dict[str, Any]:
        times = [user["fetched_at"] for shown in client[DATABASE][NEWEST_USERS].find() for user in shown["users"]]
        return {"age": age(max(times))} if times else {}

    return ask


def of_cassandra(places: Places) -> Callable[[], dict[str, Any]]:
    """How old the newest user in Cassandra's sums is, and how far the stats lane has summed each partition."""
    sessions: list[Session] = []

    def ask() -> dict[str, Any]:
        if not sessions:
            sessions.append(hops.cassandra(places.hops, PATIENCE_S))
        try:
            newest = sessions[0].execute(f"SELECT newest FROM {KEYSPACE}.lanes WHERE lane=%s", (STATS,)).one()
            ledger = sessions[0].execute(f"SELECT body FROM {KEYSPACE}.{LEDGER} WHERE lane=%s", (STATS,)).one()
        except (DriverException, NoHostAvailable):  # a new session asks at once; an old one waits ever longer
            sessions.pop().cluster.shutdown()
            raise
        ends = msgspec.json.decode(ledger.body, type=Ledger).ends if ledger else {}
        found: dict[str, Any] = {"ends": {str(partition): end for partition, end in ends.items()}}
        return found | ({"age": age(newest.newest.replace(tzinfo=UTC))} if newest and newest.newest else {})

    return ask


def of_outbox(places: Places) -> dict[str, Any]:
    """How many messages wait on disk, their bytes, and how old the oldest is."""
    with hops.read_only(outbox_path(places.hops.state)) as db:
        rows, size, oldest = db.execute(
            "SELECT count(*), coalesce(sum(length(value)), 0), min(kept_at) FROM outbox"
        ).fetchone()
    return {"rows": rows, "bytes": size, "age": max(0.0, time.time() - oldest) if oldest else 0.0}


def of_disk(places: Places) -> dict[str, Any]:
    """How many bytes are left where the state is, and how busy the machine is."""
    return {"free": shutil.disk_usage(places.hops.state).free, "load": os.getloadavg()[0]}


def age(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()


Asked = Callable[[], dict[str, Any]]


def sources(places: Places) -> dict[str, Asked]:
    """Every source with how it is asked."""
    return {
        ALERTS: lambda: alerts(places),
        TOLD: lambda: told(places),
        METRICS: lambda: numbers(places),
        MONGODB: of_mongodb(places),
        CASSANDRA: of_cassandra(places),
        OUTBOX: lambda: of_outbox(places),
        PAGE: lambda: viewer.look(places.dashboard),
        DISK: lambda: of_disk(places),
    }


class Watch:
    """Asks all the time, from `with` to its end; `guard` is called with each note, and may stop the drill."""

    def __init__(self, asked: Mapping[str, Asked], guard: Callable[[Note], None] = lambda _: None) -> None:
        self.notes: list[Note] = []
        self.guard = guard
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.threads = [
            threading.Thread(target=self._ask, args=(name, ask), name=f"watch {name}", daemon=True)
            for name, ask in asked.items()
        ]

    def __enter__(self) -> "Watch":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(timeout=2 * PATIENCE_S)

    def all(self) -> list[Note]:
        """What was noted so far, oldest first."""
        with self.lock:
            return sorted(self.notes, key=lambda note: note.at)

    def last(self, source: str, within_s: float = 5.0) -> dict[str, Any] | None:
        """What a source last said, if that is not longer ago; None also where it did not answer."""
        with self.lock:
            notes = [note for note in self.notes[-400:] if note.source == source]
        if not notes or notes[-1].at < time.time() - within_s or DOWN in notes[-1].values:
            return None
        return notes[-1].values

    def _ask(self, name: str, ask: Asked) -> None:
        while not self.ended.is_set():
            began = time.time()
            try:
                values = ask()
            except Exception as error:  # noqa: BLE001 whatever it is, that there was no answer is what is noted
                values = {DOWN: f"{type(error).__name__}: {str(error)[:120]}"}
            # An answer that was long in coming is noted when it came, its silence when it was asked.
            note = Note(began if DOWN in values else time.time(), name, values)
            with self.lock:
                self.notes.append(note)
            self.guard(note)
            self.ended.wait(max(0.0, began + EVERY_S.get(name, 1.0) - time.time()))


def as_lines(notes: Sequence[Note]) -> str:
    """The notes as JSON lines."""
    return "".join(f"{json.dumps([round(note.at, 2), note.source, note.values])}\n" for note in notes)
