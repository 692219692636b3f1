"""
What each hop lacks, from one reading of all counts, and what of it is lost: the rest is on its way.

The counts of a reading are not of one moment, but their order is known. So each check has not only the difference now
but also the least and the most that a hop can lack at all: what was counted before must be there, and no more can be
there than may have come since. A gap is claimed of what the whole window allows and PROOFS of its readings prove.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from services.outbox_file import Counts
from spark.contract import Counted, Ledger

SPAN_S = 60.0
PROOFS = 3  # readings; one may be of a broker that has just taken over and does not yet know where its partition ends
SLACK_S = 12.0  # a window is full though its oldest reading is so much younger: rounds may be slow

INGESTION, TOPIC, DEAD_LETTERS = "ingestion", "topic", "dead_letters"
READ_RAW, READ_STATS, STORED, SUMMED = "read_raw", "read_stats", "stored", "summed"
OF_OUTBOX = (INGESTION, TOPIC, DEAD_LETTERS)  # what is compared with the outbox

Offsets = Mapping[int, int]  # partition -> offset


@dataclass(frozen=True)
class OfOutbox:
    """The outbox at one moment; one that has not looked back does not know yet what the topics hold of earlier ones."""

    id: str
    counts: Counts
    looked_back: bool


@dataclass(frozen=True)
class OfKafka:
    """users.raw's oldest and next offsets, and how many letters users.dlq has ever had."""

    begins: Offsets
    ends: Offsets
    letters: int


@dataclass(frozen=True)
class OfMongo:
    """
    The raw lane's ledger before and after the documents were counted (None: they were not in this round).

    Users that were forgotten `ahead` of being stored have a document that is not counted.
    """

    before: Ledger | None
    documents: int | None
    after: Ledger | None
    ahead: int = 0


@dataclass(frozen=True)
class OfCassandra:
    """The stats lane's ledger before and after the all-time total was read."""

    before: Ledger | None
    total: int
    after: Ledger | None


@dataclass(frozen=True)
class Reading:
    """
    One round, None for what is silent. In the order of time: the stores, the outbox, Kafka, the outbox again.

    `raw` is the newest of the raw lane's ledgers that is known, if the store is silent from an earlier round. `ahead`
    users were forgotten before they were stored: they may be summed, and are never among the raw lane's users.
    """

    mongo: OfMongo | None
    cassandra: OfCassandra | None
    before: OfOutbox | None
    kafka: OfKafka | None
    after: OfOutbox | None
    raw: Ledger | None
    ahead: int = 0


class Difference(NamedTuple):
    """What a hop lacks (below 0: has too many): as counted now, and the least and most that it can truly be."""

    now: int
    least: float
    most: float


NOTHING = Ledger(-1, {}, {}, Counted(), Counted(), {})


def ingestion(reading: Reading) -> Difference | None:
    """Fetched, against what became of it: exact, the counts are of one moment."""
    if reading.before is None:
        return None
    c = reading.before.counts
    users = c.fetched - (c.duplicates + c.rejected + c.waiting + c.acknowledged + c.forgotten)
    letters = c.rejected - (c.waiting_dead + c.acknowledged_dead + c.forgotten_dead)
    return exactly(users or letters)


def topic(reading: Reading) -> Difference | None:
    """
    What the brokers have acknowledged, against ours on users.raw.

    Ours are the messages that the raw lane has not seen to be somebody else's; those it has not read may be.
    """
    before, kafka, after = reading.before, reading.kafka, reading.after
    if before is None or kafka is None or after is None or before.id != after.id or not before.looked_back:
        return None
    ledger = reading.raw or NOTHING
    b, a = before.counts, after.counts
    sent = b.before + b.acknowledged + b.acknowledged_canaries
    may_be = a.before + a.acknowledged + a.acknowledged_canaries + a.waiting + a.waiting_canaries + a.forgotten
    foreign = ledger.totals.read - ledger.totals.ours
    most_ours = total(kafka.ends) - foreign
    unknown = beyond(kafka.ends, ledger.ends) + total(ledger.starts) + (total(kafka.begins) if b.before else 0)
    return Difference(sent - most_ours, sent - most_ours, may_be - (most_ours - unknown))


def dead_letters(reading: Reading) -> Difference | None:
    """Who was set aside, against the letters that are there; one may be there twice, so that too many say nothing."""
    if reading.before is None or reading.kafka is None or not reading.before.looked_back:
        return None
    c, ledger = reading.before.counts, reading.raw or NOTHING
    lacks = c.before_dead + c.acknowledged_dead + ledger.totals.poison - reading.kafka.letters
    return Difference(lacks, lacks, max(lacks, 0))


def read(ledger: Ledger | None, kafka: OfKafka | None) -> Difference | None:
    """The messages between a lane's first and last place, against those that it has counted: exact."""
    if ledger is None:
        return None
    skipped = total(ledger.ends) - total(ledger.starts) - ledger.totals.read
    past = beyond(ledger.ends, kafka.ends) if kafka else 0
    return exactly(skipped or -past)


def stored(reading: Reading) -> Difference | None:
    """The users that the raw lane has stored, against MongoDB's documents: too few are lost, at once."""
    if reading.mongo is None or reading.mongo.documents is None:
        return None
    before, after, documents = reading.mongo.before or NOTHING, reading.mongo.after or NOTHING, reading.mongo.documents
    coming = beyond(reading.kafka.ends, after.ends) + total(after.starts) if reading.kafka else math.inf
    users = after.totals.users
    return Difference(users - documents, before.totals.users - documents, users + coming - documents)


def summed(reading: Reading) -> Difference | None:
    """The users that the raw lane has stored, against Cassandra's total: exact when both lanes are at one place."""
    if reading.cassandra is None or reading.raw is None:
        return None
    raw, stats, in_total = reading.raw, reading.cassandra.before or NOTHING, reading.cassandra.total
    ahead = beyond(raw.ends, stats.ends)
    coming = beyond(reading.kafka.ends, raw.ends) + total(raw.starts) if reading.kafka else math.inf
    users = raw.totals.users
    return Difference(users - in_total, users - ahead - in_total, users + coming + reading.ahead - in_total)


CHECKS: dict[str, Callable[[Reading], Difference | None]] = {
    INGESTION: ingestion,
    TOPIC: topic,
    DEAD_LETTERS: dead_letters,
    READ_RAW: lambda reading: read(reading.mongo.after if reading.mongo else None, reading.kafka),
    READ_STATS: lambda reading: read(reading.cassandra.after if reading.cassandra else None, reading.kafka),
    STORED: stored,
    SUMMED: summed,
}


def counts(reading: Reading) -> dict[str, int]:
    """What each hop that answers has counted."""
    found: dict[str, int] = {}
    if reading.before:
        c = reading.before.counts
        found |= {"fetched": c.fetched, "known": c.duplicates, "rejected": c.rejected, "acknowledged": c.acknowledged}
        found["outbox"] = c.waiting + c.waiting_dead + c.waiting_canaries
    if reading.kafka:
        found |= {"on_topic": total(reading.kafka.ends), "dead_letters": reading.kafka.letters}
    if reading.mongo:
        ledger = reading.mongo.after or NOTHING
        found |= {"read_raw": ledger.totals.read, "copies_raw": ledger.totals.duplicates}
        found["poison_raw"] = ledger.totals.poison
        if reading.mongo.documents is not None:
            found["stored"] = reading.mongo.documents
    if reading.cassandra:
        ledger, in_total = reading.cassandra.after or NOTHING, reading.cassandra.total
        found |= {"read_stats": ledger.totals.read, "poison_stats": ledger.totals.poison, "summed": in_total}
        if reading.cassandra.before == reading.cassandra.after and not total(ledger.starts):
            copies = ledger.totals.read - ledger.totals.poison - ledger.totals.canaries - in_total
            found["copies_stats"] = max(0, copies)  # below 0 while a batch is summed whose ledger is not yet written
    return found


def exactly(lacks: int) -> Difference:
    return Difference(lacks, lacks, lacks)


def total(offsets: Offsets) -> int:
    return sum(offsets.values())


def beyond(offsets: Offsets, others: Offsets) -> int:
    """How many messages lie before `offsets` and not before `others`."""
    return sum(max(0, offset - others.get(partition, 0)) for partition, offset in offsets.items())


class Window:
    """A check's differences of the last SPAN_S seconds, or as many as PROOFS take, and what they claim."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Difference]] = deque()

    def add(self, at: float, found: Difference) -> int | None:
        """
        Take the difference of the moment `at` (seconds of any clock).

        Return the gap that is claimed, 0 for none; None as long as too little was seen to say.
        """
        self._seen.append((at, found))
        while len(self._seen) > PROOFS and self._seen[1][0] <= at - SPAN_S:
            self._seen.popleft()
        if len(self._seen) < PROOFS or self._seen[0][0] > at - SPAN_S + SLACK_S:
            return None
        least, most = [one.least for _, one in self._seen], [one.most for _, one in self._seen]
        lacks = min(heapq.nlargest(PROOFS, least)[-1], *most)
        has_too_many = max(heapq.nsmallest(PROOFS, most)[-1], *least)
        return int(max(0, lacks) + min(0, has_too_many))

    def clear(self) -> None:
        self._seen.clear()
