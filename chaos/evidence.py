"""
Who must exist, who was served, who arrived and what was summed of them: each as a set, from the hop that knows it.

What was fetched when the reading starts is followed through, as `make audit` does, and with its parts; but a verdict
names every user, so what is read is kept instead of compared. Of several drills in a row only the first and the last
read every document; the others look up who is new.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import requests
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from observability import retry
from services import audit, evidence, findings, hops, topics
from services.contract import DEAD_LETTERS, USERS
from services.evidence import OnTopic, Sums
from spark.contract import ALL_TIME, DATABASE, FORGOTTEN, FORGOTTEN_AT
from spark.contract import USERS as COLLECTION

SHOWN = {
    "fetched_at": 1, "appended_at": 1, "stored_at": 1, "topic": 1, "gender": 1, "nat": 1, "location.country": 1,
    "dob.age": 1, FORGOTTEN_AT: 1,
}  # fmt: skip
COUNT_S = 10
COUNTS = 20  # until one is taken while no batch is written

Document = Mapping[str, Any]  # of MongoDB's users, as SHOWN


@dataclass(frozen=True)
class Settings(evidence.Settings):
    """Where the hops are, and where the simulator's journal is."""

    simulator_admin_host: str
    simulator_admin_port: int

    @property
    def simulator(self) -> str:
        return f"http://{self.simulator_admin_host}:{self.simulator_admin_port}"


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
    documents: Sequence[Document] = field(default=(), repr=False)


def collect(wanted: Settings, patience_s: float = 90, known: Sequence[Document] = ()) -> Evidence:
    """
    Read every hop, once what was fetched has come through; documents that are `known` are not read again.

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
            reading = None if known else beside.submit(stored, wanted)
            topic = asking(evidence.read_topics, reader, {**ends, **letters}, start.outbox_id)
            users_end = {tp: end for tp, end in ends.items() if tp.topic == USERS}
            later = partial(asking, appended, reader, users_end.copy())
            documents = reading.result() if reading else stored_since(wanted, known, topic, later)
        quiet = audit.is_quiet(reader, users_end)
    finally:
        reader.close()
    living = [one for one in documents if FORGOTTEN_AT not in one]
    expected, summed, totals = sums(wanted, documents, fence, quiet, patience_s)
    of_source = asked_and_served(wanted, start)
    return Evidence(
        at=fence.timestamp(),
        must=of_source and of_source[0],
        served=of_source and of_source[1],
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
        documents=documents,
    )


def stored(wanted: Settings) -> list[Document]:
    """Every document of MongoDB: a list, so that one that is there twice is seen."""
    with hops.mongo(wanted) as client:
        return list(client[DATABASE][COLLECTION].find({}, SHOWN))


def stored_since(
    wanted: Settings, known: Sequence[Document], topic: OnTopic, later: Callable[[], Collection[str]]
) -> list[Document]:
    """
    Every document: the `known`, and those of others on the `topic`, each by its id: as fast, however many there are.

    The store must count just these, at a moment in which it takes none; `later` tells whom else it may have by then. If
    it does not, or somebody is not there or was forgotten, all are read. Not seen so: as many that are gone as are made
    up, and one that was changed.
    """
    had = {one["_id"] for one in known}
    must = topic.ids.keys() - topic.dead_ids - had
    may, found = set(must), dict[str, Document]()
    with hops.mongo(wanted) as client:
        database = client[DATABASE]
        if 2 * len(must) > len(known) or database[FORGOTTEN].find_one():
            return stored(wanted)
        for _ in range(COUNTS):
            may = (may | {*later()}) - had - found.keys()
            begin = hops.documents(database, COUNT_S)
            found |= {user: one for user in may if (one := database[COLLECTION].find_one(user, SHOWN))}
            if must - found.keys():
                break
            if begin == hops.documents(database, COUNT_S) == len(known) + len(found):
                return [*known, *found.values()]
    return stored(wanted)


def appended(reader: KafkaConsumer, ends: dict[TopicPartition, int]) -> list[str]:
    """Who is on the topic beyond these ends, which are moved on."""
    now = topics.ends(reader, list(ends))
    keys = [(record.key or b"").decode(errors="replace") for record in topics.records(reader, ends, now)]
    ends.update(now)
    return keys


def forgotten(documents: Sequence[Document]) -> evidence.Stored:
    """What is known of those who were forgotten: how many a minute had, and how many were not stored yet."""
    gone = [one for one in documents if FORGOTTEN_AT in one]
    minutes = Counter(evidence.minute_of(one["appended_at"]) for one in gone if one["topic"])
    return evidence.Stored(minutes=minutes, ahead=sum(not one["topic"] for one in gone))


def passage(document: Document) -> Passage:
    return Passage(
        document["_id"],
        document["fetched_at"].timestamp(),
        document["stored_at"].timestamp(),
        document["topic"]["partition"],
        document["topic"]["offset"],
    )


def summed_of(document: Document) -> evidence.User:
    return evidence.User(
        document["appended_at"],
        document["location"]["country"],
        document["gender"],
        document["dob"]["age"],
        document["nat"],
    )


def asked_and_served(wanted: Settings, start: evidence.Fetched) -> tuple[frozenset[str], frozenset[str]] | None:
    """Who must exist by seed and cursor, and who was served by the simulator's journal or a kept page, if known."""
    if not wanted.of_simulator or wanted.users_days:
        return None
    must = findings.expected_ids(start.pages, wanted.page_size, wanted.nationalities)
    pages = dict(start.pages)  # a simulator that was restarted has a new journal
    for one in journal(wanted):
        if one["results"] == wanted.page_size:
            pages[one["seed"]] = max(one["page"], pages.get(one["seed"], 0))
    return frozenset(must), frozenset(must | findings.expected_ids(pages, wanted.page_size, wanted.nationalities))


def journal(wanted: Settings) -> list[dict[str, Any]]:
    """The highest page that the simulator has sent whole, of each seed and page size."""
    answer = requests.get(f"{wanted.simulator}/journal", timeout=10)
    answer.raise_for_status()
    return list(answer.json()["pages"])


def sums(
    wanted: Settings, documents: Sequence[Document], fence: datetime, quiet: bool, patience_s: float
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
