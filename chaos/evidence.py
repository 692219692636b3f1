"""
Who must exist, who was served, who arrived and what was summed of them: each as a set, from the hop that knows it.

What was fetched when the reading starts is followed through, as `make audit` does, and with its parts; but a verdict
names every user, so what is read is kept instead of compared.
"""

from collections import Counter
from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import requests
from kafka.errors import KafkaError

from observability import retry
from services import audit, evidence, findings, hops, topics
from services.contract import DEAD_LETTERS, USERS
from services.evidence import Sums
from spark.contract import ALL_TIME, DATABASE, FORGOTTEN_AT
from spark.contract import USERS as COLLECTION

SHOWN = {
    "fetched_at": 1, "appended_at": 1, "stored_at": 1, "topic": 1, "gender": 1, "nat": 1, "location.country": 1,
    "dob.age": 1, FORGOTTEN_AT: 1,
}  # fmt: skip


@dataclass(frozen=True)
class Settings(evidence.Settings):
    """Where the hops are, and where the simulator's journal is."""

    simulator_admin_port: int


class Passage(NamedTuple):
    """When a stored user passed where (Unix time), and the message that brought them."""

    user_id: str
    fetched: float
    stored: float
    partition: int
    offset: int


@dataclass(frozen=True)
class Evidence:
    """
    One reading of the whole system, at one fence.

    `must` and `served` are None where the source is not our simulator: then nobody here knows. `gaps` says of which
    topic fewer messages are there than were acknowledged; `kept`: users are stored for ever. Sums are by
    `minute dimension value`; `totals` are those that are not the sum of their parts.
    """

    at: float
    must: Set[str] | None = frozenset()
    served: Set[str] | None = frozenset()
    on_topic: Mapping[str, int] = field(default_factory=dict)  # user -> messages
    stored: Mapping[str, int] = field(default_factory=dict)  # user -> documents
    dead: Set[str] = frozenset()  # users that were set aside
    poison: Set[str] = frozenset()  # places of messages that are no users
    letters: Set[str] = frozenset()  # places that a dead letter came from
    expected: Mapping[str, Sums] = field(default_factory=dict)
    summed: Mapping[str, Sums] = field(default_factory=dict)
    totals: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()
    gaps: tuple[str, ...] = ()
    kept: bool = True


def collect(wanted: Settings, patience_s: float = 90) -> Evidence:
    """
    Read every hop, once what was fetched has come through.

    Raises:
        NotFollowed: a hop has not let through within `patience_s` seconds what it held; SILENT: one does not answer.
    """
    asking = retry.policy("kafka", (KafkaError, topics.TopicUnreadable), attempts=6, longest_s=3)
    start = evidence.fetched(wanted)
    audit.wait_for("outbox", lambda: evidence.left_in_outbox(wanted, start.last_row), patience_s)
    reader = topics.consumer(wanted)
    try:
        fence = datetime.now(UTC)
        ends = asking(evidence.topic_ends, reader)
        audit.wait_for("lanes", lambda: asking(evidence.left_for, wanted, ends), patience_s)
        letters = {tp: end for tp, end in asking(evidence.topic_ends, reader).items() if tp.topic == DEAD_LETTERS}
        with ThreadPoolExecutor(1) as beside:  # the topic is read while the document store reads its documents
            reading = beside.submit(stored, wanted)
            topic = asking(evidence.read_topics, reader, {**ends, **letters}, start.outbox_id)
            documents = reading.result()
        quiet = audit.is_quiet(reader, {tp: end for tp, end in ends.items() if tp.topic == USERS})
    finally:
        reader.close()
    living = [one for one in documents if FORGOTTEN_AT not in one]
    expected, summed, totals = sums(wanted, documents, fence, quiet, patience_s)
    known = asked_and_served(wanted, start)
    return Evidence(
        at=fence.timestamp(),
        must=known and known[0],
        served=known and known[1],
        on_topic=topic.ids,
        stored=Counter(one["_id"] for one in documents),
        dead=frozenset(topic.dead_ids),
        poison=frozenset(topic.poison),
        letters=frozenset(topic.dead_origins),
        expected=expected,
        summed=summed,
        totals=totals,
        passages=tuple(map(passage, living)),
        gaps=tuple(f"{one.hop}: {one.differs}" for one in findings.of_topic(start, topic) if one.differs),
        kept=not wanted.users_days,
    )


def stored(wanted: Settings) -> list[dict[str, Any]]:
    """Every document of MongoDB: a list, so that one that is there twice is seen."""
    with hops.mongo(wanted) as client:
        return list(client[DATABASE][COLLECTION].find({}, SHOWN))


def forgotten(documents: list[dict[str, Any]]) -> evidence.Stored:
    """What is known of those who were forgotten: how many a minute had, and how many were not stored yet."""
    gone = [one for one in documents if FORGOTTEN_AT in one]
    minutes = Counter(evidence.minute_of(one["appended_at"]) for one in gone if one["topic"])
    return evidence.Stored(minutes=minutes, ahead=sum(not one["topic"] for one in gone))


def passage(document: Mapping[str, Any]) -> Passage:
    return Passage(
        document["_id"],
        document["fetched_at"].timestamp(),
        document["stored_at"].timestamp(),
        document["topic"]["partition"],
        document["topic"]["offset"],
    )


def summed_of(document: Mapping[str, Any]) -> evidence.User:
    return evidence.User(
        document["appended_at"],
        document["location"]["country"],
        document["gender"],
        document["dob"]["age"],
        document["nat"],
    )


def asked_and_served(wanted: Settings, start: evidence.Fetched) -> tuple[frozenset[str], frozenset[str]] | None:
    """Who must exist by seed and cursor, and who was served by the simulator's journal or a kept page, if known."""
    if not wanted.source_url.endswith(f":{wanted.simulator_port}/api/") or wanted.users_days:
        return None
    must = findings.expected_ids(start.pages, wanted.page_size, wanted.nationalities)
    pages = dict(start.pages)  # a simulator that was restarted has a new journal
    for one in journal(wanted):
        if one["results"] == wanted.page_size:
            pages[one["seed"]] = max(one["page"], pages.get(one["seed"], 0))
    return frozenset(must), frozenset(must | findings.expected_ids(pages, wanted.page_size, wanted.nationalities))


def journal(wanted: Settings) -> list[dict[str, Any]]:
    """The highest page that the simulator has sent whole, of each seed and page size."""
    answer = requests.get(f"http://127.0.0.1:{wanted.simulator_admin_port}/journal", timeout=10)
    answer.raise_for_status()
    return list(answer.json()["pages"])


def sums(
    wanted: Settings, documents: list[dict[str, Any]], fence: datetime, quiet: bool, patience_s: float
) -> tuple[dict[str, Sums], dict[str, Sums], tuple[str, ...]]:
    """Every minute before the fence's, in every dimension, as the documents say and as Cassandra does; wrong totals."""
    session = hops.cassandra(wanted)
    try:
        summed = evidence.Summed(session)
        days = [day for day in summed.days() if (fence.date() - day).days < wanted.days_compared]
        minutes = {key: found for day in days for key, found in summed.minutes(day).items()}
        until = datetime.max.replace(tzinfo=UTC) if quiet else fence.replace(second=0, microsecond=0)
        living = (summed_of(one) for one in documents if FORGOTTEN_AT not in one)
        of_living = evidence.expected_sums(living, until)
        expected = findings.with_forgotten(of_living, minutes, forgotten(documents))
        totals = [
            audit.of_total(
                f"day {day}", partial(summed.totals, str(day)), partial(audit.minutes_added, summed, day), patience_s
            )
            for day in days
        ]
        all_days = lambda: findings.added(summed.totals(str(day)) for day in summed.days())  # noqa: E731
        totals.append(audit.of_total("all time", partial(summed.totals, ALL_TIME), all_days, patience_s))
    finally:
        session.cluster.shutdown()
    return (
        {name(key): one for key, one in expected.items() if (fence.date() - key[0].date()).days < wanted.days_compared},
        {name(key): one for key, one in minutes.items() if key[0] < until},
        tuple(f"{one.hop}: {one.differs}" for one in totals if one.differs),
    )


def name(key: tuple[datetime, evidence.Key]) -> str:
    minute, (dimension, value) = key
    return f"{minute:%Y-%m-%dT%H:%M} {dimension} {value}"
