"""
Compare every hop with the one before it, as sets of users, while users flow; end non-zero at the first that differs.

What was fetched when the audit starts is followed through: it must have left the outbox, be on the topic, be read by
both lanes, be stored once or set aside, and be summed, minute by minute and in every dimension. With the simulator as
source the users that must exist are computed from the seed and the number of pages alone.

What is compared is in services/findings.py. Exit code 1: a hop differs, or did not let through in time; 2: one does not
answer, so that nothing more is known.
"""

import argparse
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from functools import partial

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
    Key,
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
from services.findings import (
    Finding,
    added,
    between,
    differing,
    named,
    of_forgotten,
    of_ingestion,
    of_minutes,
    of_poison,
    of_seed,
    of_store,
    of_topic,
    with_forgotten,
)
from spark.contract import ALL_TIME, EVERYONE

LOOK_EVERY_S = 0.2
FEW = 100  # messages; more than that are no canaries alone


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


def minutes_added(summed: Summed, day: date) -> dict[Key, Sums]:
    return added([summed.minutes(day)])


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
