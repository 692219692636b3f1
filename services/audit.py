"""
Compare every hop with the one before it, as sets of users, while users flow; end non-zero at the first that differs.

What was fetched when the audit starts is followed through: it must have left the outbox, be on the topic, be read by
both lanes, be stored once or set aside, and be summed, minute by minute and in every dimension. With the simulator as
source the users that must exist are computed from the seed and the number of pages alone.

Exit code 1: a hop differs, or did not let through in time; 2: one does not answer, so that nothing more is known.
"""

import argparse
import sqlite3
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import msgspec
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from pymongo.errors import PyMongoError

from observability import logs, retry, settings
from services import hops, topics
from services.contract import DEAD_LETTERS, USERS
from services.evidence import (
    Fetched,
    Key,
    Minutes,
    OnTopic,
    Settings,
    Stored,
    Summed,
    Sums,
    User,
    expected_sums,
    fetched,
    is_canary,
    left_for,
    left_in_outbox,
    read_topics,
    stored_users,
    topic_ends,
)
from services.simulator.people import ids as ids_of_page
from services.source import MAX_PAGE, generation_of
from spark.contract import ALL_TIME, DIMENSIONS, EVERYONE

SHOWN = 5  # ids named of each difference
LOOK_EVERY_S = 0.2
FEW = 100  # messages; more than that are no canaries alone
OLDEST = 150  # years, by the contract


@dataclass(frozen=True)
class Finding:
    """One comparison: what was counted, and what differs (empty when nothing does)."""

    hop: str
    counted: str
    differs: str = ""


class NotFollowed(Exception):
    """A hop did not let through in time what it held; the text names it."""


def wait_for(what: str, done: Callable[[], str], patience_s: float, given_up: threading.Event | None = None) -> None:
    """
    Return once `done` has nothing left to name.

    Raises:
        NotFollowed: the time is over, or it was given up; with what was left.
    """
    ends, given_up = time.monotonic() + patience_s, given_up or threading.Event()
    while left := done():
        if time.monotonic() > ends or given_up.wait(LOOK_EVERY_S):
            raise NotFollowed(f"{what}: {left}")


def differing(one: Mapping[Any, Sums], other: Mapping[Any, Sums]) -> str:
    """The first keys whose sums are not the same on both sides."""
    keys = [key for key in {**one, **other} if one.get(key, (0, 0)) != other.get(key, (0, 0))]
    shown = ", ".join(f"{say(key)}: {one.get(key, (0, 0))} / {other.get(key, (0, 0))}" for key in sorted(keys)[:SHOWN])
    return f"{len(keys)} sums differ (users, age sum: expected / found): {shown}" if keys else ""


def say(key: Any) -> str:
    return " ".join(say(part) for part in key) if isinstance(key, tuple) else str(key)


def named(what: str, found: Iterable[Any]) -> str:
    """A sentence with the first of what was found, empty for nothing."""
    listed = sorted(found)
    return f"{len(listed):,} {what}: {', '.join(map(str, listed[:SHOWN]))}" if listed else ""


def between(low: Mapping[Key, Sums], middle: Mapping[Key, Sums], high: Mapping[Key, Sums]) -> bool:
    """Whether sums that only grow, read in this order, are one and the same growing sum."""
    nothing = (0, 0)
    return all(
        low.get(key, nothing)[n] <= middle.get(key, nothing)[n] <= high.get(key, nothing)[n]
        for key in {**low, **middle, **high}
        for n in (0, 1)
    )


def added(parts: Iterable[Mapping[Any, Sums]]) -> dict[Key, Sums]:
    """The sums of several, by dimension and value."""
    total: dict[Key, Sums] = defaultdict(lambda: (0, 0))
    for part in parts:
        for key, (n, age) in part.items():
            dimension_value = key if isinstance(key[0], str) else key[1]
            had = total[dimension_value]
            total[dimension_value] = (had[0] + n, had[1] + age)
    return dict(total)


def expected_ids(pages: Mapping[str, int], page_size: int, nationalities: str) -> set[str]:
    """The users of those pages of those seeds, from the simulator's own arithmetic."""
    nations = tuple(n for n in nationalities.upper().split(",") if n)
    return {
        user_id
        for seed, n in pages.items()
        for page in range(1, n + 1)
        for user_id in ids_of_page(seed, page, page_size, nations)
    }


def audit(wanted: Settings, patience_s: float) -> Iterator[Finding]:
    """
    Yield one finding after another, in the order of the hops; the stores are read while the topics are.

    Raises:
        NotFollowed: a hop has not let through within `patience_s` seconds what it held.
    """
    asking = retry.policy(
        "kafka", (KafkaError, topics.TopicUnreadable), attempts=6, longest_s=3
    )  # a broker may be gone
    start = fetched(wanted)
    yield of_ingestion(start)
    wait_for("outbox", lambda: left_in_outbox(wanted, start.last_row), patience_s)
    reader = topics.consumer(wanted)
    given_up = threading.Event()
    pool = ThreadPoolExecutor(1)
    try:
        fence = datetime.now(UTC)  # taken first: what was appended before it lies before these ends
        ends = asking(topic_ends, reader)
        later = pool.submit(stored_then, wanted, lambda: asking(left_for, wanted, ends), patience_s, given_up)
        topic = asking(read_topics, reader, ends, start.outbox_id)
        yield from of_topic(start, topic)
        stored = later.result()
        users, ids = stored.users, {*stored.users, *stored.forgotten}
        dead = asking(topic_ends, reader)
        letters = asking(
            read_topics, reader, {tp: end for tp, end in dead.items() if tp.topic == DEAD_LETTERS}, start.outbox_id
        )
        yield of_poison(topic, letters)
        yield of_store(topic, ids)
        yield of_forgotten(wanted, stored)
        yield asking(phantoms, reader, topic, users)
        yield from of_sums(wanted, stored, fence, lambda: asking(is_quiet, reader, ends), patience_s)
    finally:
        given_up.set()
        reader.close()
        pool.shutdown()
    yield of_seed(wanted, start, topic, letters, ids)


def stored_then(wanted: Settings, left: Callable[[], str], patience_s: float, given_up: threading.Event) -> Stored:
    """
    Every user in MongoDB, once both lanes have read all that must be there.

    Raises:
        NotFollowed: they have not in time.
    """
    wait_for("lanes", left, patience_s, given_up)
    return stored_users(wanted)


def of_ingestion(start: Fetched) -> Finding:
    c = start.counts
    users = c.duplicates + c.rejected + c.acknowledged + c.waiting + c.forgotten
    letters = c.acknowledged_dead + c.waiting_dead + c.forgotten_dead
    canaries = c.acknowledged_canaries + c.waiting_canaries
    differs = ""
    if users != c.fetched:
        differs = f"fetched {c.fetched:,} but known, set aside, acknowledged and waiting are {users:,}"
    elif letters != c.rejected:
        differs = f"set aside {c.rejected:,} but {letters:,} are acknowledged or wait"
    elif canaries != c.canaries:
        differs = f"{c.canaries:,} canaries but {canaries:,} are acknowledged or wait"
    counted = f"{c.fetched:,} fetched, {c.duplicates:,} known already, {c.rejected:,} set aside"
    counted += f", {c.forgotten:,} forgotten unsent" if c.forgotten else ""
    return Finding("ingestion", counted, differs)


def of_topic(start: Fetched, topic: OnTopic) -> Iterator[Finding]:
    """Every row that the outbox held or had let go when the audit began must be on its topic now; later ones may be."""
    c = start.counts
    users, letters = c.acknowledged + c.waiting, c.acknowledged_dead + c.waiting_dead
    canaries = c.acknowledged_canaries + c.waiting_canaries  # rows as users' are; not told apart by their headers
    twice = sum(n - 1 for n in topic.ids.values())
    there = f"{len(topic.ids):,} users on the topic, {twice:,} copies"
    yield Finding(
        "topic",
        f"{users:,} sent, {there}, {topic.canaries:,} canaries of {canaries:,}",
        missing_rows(topic, users + canaries, topic.rows - start.forgotten, start.last_row),
    )
    yield Finding(
        "dead letters",
        f"{letters:,} sent, {len(topic.dead_rows):,} on the topic",
        missing_rows(topic, letters, topic.dead_rows - start.forgotten, start.last_row),
    )


def missing_rows(topic: OnTopic, sent: int, rows: set[int], last_row: int) -> str:
    """How many rows the topic has too few (or too many) of those up to `last_row`; nothing if it has forgotten some."""
    n = sum(row <= last_row for row in rows)
    return f"{sent:,} rows were acknowledged, {n:,} are on the topic" if topic.complete and n != sent else ""


def of_poison(topic: OnTopic, letters: OnTopic) -> Finding:
    missing = topic.poison - letters.dead_origins
    return Finding("poison", f"{len(topic.poison):,} on the topic", named("without a dead letter", missing))


def of_store(topic: OnTopic, ids: Collection[str]) -> Finding:
    missing = set(topic.ids).difference(ids)
    return Finding("raw lane", f"{len(ids):,} users in MongoDB", named("on the topic, not stored", missing))


def of_forgotten(wanted: Settings, stored: Stored) -> Finding:
    """Nobody who was forgotten may be back, as after a backup of MongoDB was played in; retention may take the rest."""
    back = stored.registered - stored.forgotten if not wanted.users_days else stored.registered & set(stored.users)
    counted = f"{len(stored.forgotten):,} users forgotten; nothing of them is kept but the id"
    return Finding("forgotten", counted, named("forgotten and back, or not kept out (make forget again)", back))


def phantoms(reader: KafkaConsumer, topic: OnTopic, users: Mapping[str, User]) -> Finding:
    """Users stored that were never on the topic; what came after the fence is looked up before it is called so."""
    unknown = set(users) - set(topic.ids) if topic.complete else set()
    ends = {tp: end for tp, end in topic_ends(reader).items() if tp.topic == USERS}
    for record in topics.records(reader, {tp: topic.ends[tp] for tp in ends}, ends) if unknown else ():
        unknown.discard((record.key or b"").decode(errors="replace"))
    return Finding("phantoms", f"{len(unknown):,} stored, never on the topic", named("never on the topic", unknown))


def is_quiet(reader: KafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
    """Whether no user was appended since the fence; canaries may have been."""
    now = {tp: end for tp, end in topic_ends(reader).items() if tp.topic == USERS}
    return sum(now[tp] - ends[tp] for tp in now) <= FEW and all(
        is_canary(record.value) for record in topics.records(reader, ends, now)
    )


def of_sums(
    wanted: Settings, stored: Stored, fence: datetime, quiet: Callable[[], bool], patience_s: float
) -> Iterator[Finding]:
    """
    Minutes are compared one by one, the running one too if nothing was appended since the fence; totals, which may go
    on growing, with the sums of their parts. Who was forgotten stays in the sums.
    """
    session = hops.cassandra(wanted)
    try:
        summed = Summed(session)
        days = [day for day in summed.days() if (fence.date() - day).days < wanted.days_compared]
        found = {key: sums for day in days for key, sums in summed.minutes(day).items()}
        before = datetime.max.replace(tzinfo=UTC) if quiet() else fence.replace(second=0, microsecond=0)
        expected = {
            (minute, key): sums
            for (minute, key), sums in expected_sums(stored.users.values(), before).items()
            if (fence.date() - minute.date()).days < wanted.days_compared
        }
        found = {key: sums for key, sums in found.items() if key[0] < before}
        yield of_minutes(with_forgotten(expected, found, stored), found)
        for day in days:
            total, parts = partial(summed.totals, str(day)), partial(minutes_added, summed, day)
            yield of_total(f"day {day}", total, parts, patience_s)
        yield of_total(
            "all time",
            partial(summed.totals, ALL_TIME),
            lambda: added(summed.totals(str(day)) for day in summed.days()),
            patience_s,
        )
    finally:
        session.cluster.shutdown()


def with_forgotten(expected: Minutes, found: Minutes, stored: Stored) -> Minutes:
    """
    What is expected once the forgotten are given back: no document says what they were, but how many a minute had is
    known. What is too much in a minute is theirs as far as there were so many, and has an age that people have.
    """
    more: dict[tuple[datetime, str], dict[Key, int]] = defaultdict(dict)
    for (minute, key), (n, age) in found.items():
        had, had_age = expected.get((minute, key), (0, 0))
        if n > had and 0 <= age - had_age <= OLDEST * (n - had):
            more[minute, key[0]][key] = n - had
    ahead = dict.fromkeys(DIMENSIONS, stored.ahead)
    whole = dict(expected)
    for (minute, dimension), keys in sorted(more.items()):
        unknown = max(0, sum(keys.values()) - stored.minutes[minute])
        if unknown <= ahead[dimension]:
            ahead[dimension] -= unknown
            whole |= {(minute, key): found[minute, key] for key in keys}
    return whole


def minutes_added(summed: Summed, day: date) -> dict[Key, Sums]:
    return added([summed.minutes(day)])


def of_minutes(expected: Minutes, found: Minutes) -> Finding:
    users = sum(sums[0] for (_, key), sums in found.items() if key[0] == EVERYONE)
    counted = f"{users:,} users, {len({key for _, key in found})} values, minute by minute"
    return Finding("stats lane", counted, differing(expected, found))


def of_total(
    name: str, total: Callable[[], dict[Key, Sums]], parts: Callable[[], dict[Key, Sums]], patience_s: float
) -> Finding:
    limit = time.monotonic() + patience_s
    low, middle, high = total(), parts(), total()
    while not between(low, middle, high) and time.monotonic() < limit and between(low, middle, middle):
        time.sleep(0.2)
        high = total()
    counted = f"{high.get((EVERYONE, EVERYONE), (0, 0))[0]:,} users in the total"
    return Finding(name, counted, "" if between(low, middle, high) else differing(middle, high))


def of_seed(wanted: Settings, start: Fetched, topic: OnTopic, letters: OnTopic, ids: Collection[str]) -> Finding:
    if not wanted.source_url.endswith(f":{wanted.simulator_port}/api/"):
        return Finding("seed", "the source is not the simulator: who must exist is not known here")
    if wanted.users_days:
        return Finding("seed", "users are removed after VIGIE_USERS_RETENTION_DAYS: who must exist is not known here")
    pages = asked_pages(start.seed, wanted.pages) if wanted.pages else start.pages
    expected = expected_ids(pages, wanted.page_size, wanted.nationalities)
    missing = expected.difference(ids) - topic.dead_ids - letters.dead_ids
    counted = f"{len(expected):,} users must exist by seed {start.seed}, pages {sum(pages.values()):,}"
    if missing:
        return Finding("seed", counted, named("neither stored nor set aside", missing))
    twice = [i for i in expected if i in ids and i in topic.dead_ids and i not in topic.ids]
    return Finding("seed", counted, named("stored, but only the dead letters had them", twice))


def asked_pages(seed: str, pages: int) -> dict[str, int]:
    """The pages that a run with VIGIE_PAGES must have fetched."""
    return {
        generation_of(seed, generation): min(MAX_PAGE, pages - generation * MAX_PAGE)
        for generation in range(-(-pages // MAX_PAGE))
    }


CLIENTS: dict[str, tuple[type[Exception], ...]] = {
    "outbox": (sqlite3.Error,),
    "kafka": (KafkaError, topics.TopicUnreadable),
    "mongodb": (PyMongoError,),
    "cassandra": (NoHostAvailable, DriverException),
}


def silent_hops(wanted: Settings, error: Exception) -> str:
    """Which hops do not answer: by whose client the error is, or, where one held on to users, by asking them all."""
    names = [name for name, errors in CLIENTS.items() if isinstance(error, errors)]
    return ", ".join(names or hops.ask(wanted)[1])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.audit", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the findings as one line of JSON")
    parser.add_argument(
        "--patience", type=float, default=90, metavar="S", help="seconds that each hop has to let through what it holds"
    )
    asked = parser.parse_args(argv)
    logs.start("audit", level=40)
    hops.hush()
    try:
        wanted = settings.read(Settings, settings.environ())
    except settings.WrongSetting as error:
        print(error, file=sys.stderr)
        return 2
    found: list[Finding] = []
    silent = ""
    try:
        for one in audit(wanted, asked.patience):
            found.append(one)
            if not asked.json:
                print(f"{'DIFFERS' if one.differs else 'ok':<8}{one.hop:<16}{one.counted}", flush=True)
                if one.differs:
                    print(f"{'':<24}{one.differs}", flush=True)
    except (*hops.SILENT, NotFollowed) as error:
        why = f"{type(error).__name__}: {str(error)[:200]}"
        silent = silent_hops(wanted, error)
        if silent:
            print(f"cannot compare: {silent} does not answer (make status): {why}", file=sys.stderr)
        else:
            found.append(Finding("audit", "", f"could not go on: {why}"))
            if not asked.json:
                print(f"DIFFERS {found[-1].differs}")
    first = next((one for one in found if one.differs), None)
    if asked.json:
        print(msgspec.json.encode(found).decode())
    elif first:
        print(f"the first hop that differs: {first.hop}")
    elif not silent:
        print("every hop agrees: nothing lost, nothing double")
    return 1 if first else 2 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
