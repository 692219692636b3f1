"""
One user's way, hop by hop: when it was where, how long each step took, and the trace that shows it in Jaeger.

`make journey USER=<uuid>`. Nothing of the person is shown but the id. A canary's way is shown while it is the newest.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.partitioner import murmur2

from observability import logs, settings, tracing
from services import dlq, hops, spans, topics
from services.contract import USERS, PoisonMessage, Uuid, decode
from services.outbox_file import outbox_path
from services.spans import Place, Span
from spark.contract import CANARIES, DATABASE, EVERYONE, FORGOTTEN_AT, KEYSPACE, NEWEST_ID
from spark.contract import USERS as COLLECTION

MOST_SPANS = 60


@dataclass(frozen=True)
class Settings(hops.Settings):
    """Where the hops are, and Jaeger."""

    jaeger: str = field(metadata={"key": "VIGIE_JAEGER_URL"})


@dataclass(frozen=True)
class Step:
    """One hop: when (None where only the place is known), where, and what is to be said of it."""

    at: datetime | None
    hop: str
    text: str


@dataclass
class Found:
    """What the hops say of one user."""

    user_id: str
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # of hops that do not answer, or have nothing
    looked: list[str] = field(default_factory=list)
    place: TopicPartition | None = None
    offset: int = -1
    appended_at: datetime | None = None
    trace_id: str = ""
    canary: bool = False

    @property
    def message(self) -> Place | None:
        return (self.place.partition, self.offset) if self.place else None


def follow(wanted: Settings, user_id: str) -> Found:
    """Ask every hop for the user; one that does not answer is noted, the others are asked."""
    found = Found(user_id)
    for name, look in (
        ("the outbox", in_outbox),
        ("MongoDB", in_mongo),
        ("the topics", on_topics),
        ("Cassandra", in_cassandra),
    ):
        try:
            look(wanted, found)
            found.looked.append(name)
        except hops.SILENT as error:
            found.notes.append(f"{name} could not be asked: {type(error).__name__}: {str(error)[:150]}")
    return found


def in_outbox(wanted: Settings, found: Found) -> None:
    with hops.read_only(outbox_path(wanted.state)) as db:
        rows = db.execute(
            "SELECT topic, kept_at, trace FROM outbox WHERE key=? ORDER BY seq", (found.user_id.encode(),)
        ).fetchall()
        short = bytes.fromhex(found.user_id.replace("-", ""))
        if db.execute("SELECT 1 FROM seen WHERE user_id=?", (short,)).fetchone():
            found.steps.append(Step(None, "ingestion", "has met it: it was fetched"))
    for topic, kept_at, trace in rows:
        at = datetime.fromtimestamp(kept_at, UTC) if kept_at else None
        found.steps.append(Step(at, "outbox", f"waits on disk for the brokers, to {topic}"))
        found.trace_id = found.trace_id or tracing.trace_id(trace)


def in_mongo(wanted: Settings, found: Found) -> None:
    shown = ("fetched_at", "appended_at", "stored_at", "topic", "trace_id", "source.page", FORGOTTEN_AT)
    with hops.mongo(wanted) as client:
        user = client[DATABASE][COLLECTION].find_one({"_id": found.user_id}, shown)
        canary = client[DATABASE][CANARIES].find_one({"_id": NEWEST_ID}) or {}
    if user and user["topic"]:
        place = user["topic"]
        found.place, found.offset = TopicPartition(USERS, place["partition"]), place["offset"]
    if user and FORGOTTEN_AT in user:
        found.steps.append(Step(user[FORGOTTEN_AT], "forgotten", "MongoDB, users: the id is kept, and nothing else"))
        user = user if user["topic"] else None
    elif user:
        found.steps += of_document(user, f"from the source, page {user['source']['page']:,}", "MongoDB, users")
    elif canary.get("user_id") == found.user_id:
        user, found.canary = canary, True
        found.steps += of_document(user, "a canary, put into the outbox", "MongoDB, the newest canary")
    if user:
        found.appended_at, found.trace_id = user["appended_at"], user.get("trace_id", "")


def of_document(user: Mapping[str, Any], fetched: str, stored: str) -> Iterator[Step]:
    yield Step(user["fetched_at"], "fetched", fetched)
    yield Step(user["stored_at"], "stored", stored)


def on_topics(wanted: Settings, found: Found) -> None:
    with closing(topics.consumer(wanted)) as reader:
        if found.place is None:
            by_key(reader, found)
        if found.place is None:
            if found.appended_at:  # a canary's place is not kept
                found.steps.append(Step(found.appended_at, "topic", f"appended to {USERS}"))
        elif found.offset < topics.begins(reader, [found.place])[found.place]:
            found.steps.append(Step(found.appended_at, "topic", f"{place(found)}: forgotten there by now"))
        else:
            start = {found.place: found.offset}
            for record in topics.records(reader, start, {found.place: found.offset + 1}):
                headers = {name: value.decode(errors="replace") for name, value in record.headers}
                found.appended_at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
                found.steps.append(
                    Step(found.appended_at, "topic", f"{place(found)}, {len(record.value or b''):,} bytes")
                )
                found.trace_id = found.trace_id or tracing.trace_id(headers.get(tracing.TRACEPARENT, ""))
        for letter in dlq.read(reader):
            if letter.key == found.user_id:
                at = datetime.fromtimestamp(letter.at_ms / 1000, UTC)
                text = f"{letter.place}, set aside by {letter.stage}: {letter.reason[:160]}"
                found.steps.append(Step(at, "dead letter", text))
    if found.place is not None:
        for lane, positions in hops.committed(wanted).items():
            read = positions.get(found.place, 0)
            left = found.offset + 1 - read
            said = "has read it" if left <= 0 else f"is {left:,} messages before it"
            found.steps.append(Step(None, f"{lane} lane", f"{said}: it is at {found.place.partition}:{read:,}"))


def by_key(reader: KafkaConsumer, found: Found) -> None:
    """Look for the user where its key puts it: one that is not stored may be on the topic all the same."""
    places, key = topics.partitions(reader, USERS), found.user_id.encode()
    own = [places[(murmur2(key) & 0x7FFFFFFF) % len(places)]]
    for record in topics.records(reader, topics.begins(reader, own), topics.ends(reader, own)):
        if record.key == key:
            found.place, found.offset = own[0], record.offset
            with suppress(PoisonMessage):
                if not found.canary:
                    found.steps.append(Step(decode(record.value).fetched_at, "fetched", "by the message on the topic"))
                    found.steps.append(Step(None, "stored", "no: MongoDB does not have it"))
            return


def place(found: Found) -> str:
    return f"{USERS} {found.place.partition}:{found.offset:,}" if found.place else USERS


def in_cassandra(wanted: Settings, found: Found) -> None:
    session = hops.cassandra(wanted)
    try:
        if found.canary:
            row = session.execute(f"SELECT user_id, summed_at FROM {KEYSPACE}.canaries WHERE id=%s", (NEWEST_ID,)).one()
            if row and row.user_id == found.user_id:
                found.steps.append(Step(row.summed_at.replace(tzinfo=UTC), "summed", "Cassandra, the newest canary"))
        elif found.appended_at:
            minute = found.appended_at.replace(second=0, microsecond=0)
            row = session.execute(
                f"SELECT users FROM {KEYSPACE}.stats_by_minute "
                "WHERE dimension=%s AND day=%s AND minute=%s AND value=%s",
                (EVERYONE, minute.date(), minute, EVERYONE),
            ).one()
            said = f"the minute has {row.users:,} users" if row else "the minute has no row: not yet, or no more"
            found.steps.append(Step(None, "summed", f"Cassandra, {minute:%Y-%m-%d %H:%M} UTC: {said}"))
    finally:
        session.cluster.shutdown()


def text(found: Found, shown: Sequence[Span], why_none: str, jaeger: str) -> Iterator[str]:
    """The journey in lines: the hops in the order of time, then the trace."""
    yield f"{'canary' if found.canary else 'user'} {found.user_id}"
    last: datetime | None = None
    timed = sorted((step.at, n) for n, step in enumerate(found.steps) if step.at)
    for step in [*(found.steps[n] for _, n in timed), *(step for step in found.steps if not step.at)]:
        yield f"  {clock(step.at)} {since(step.at, last)}  {step.hop:<12}{step.text}"
        last = step.at or last
    for note in found.notes:
        yield f"  {note}"
    if not found.trace_id:
        yield "no trace: none was made for the page it came with"
        return
    yield f"trace {jaeger}/api/v3/traces/{found.trace_id}"
    if why_none:
        yield f"  {why_none}"
    first = shown[0].began if shown else None
    for one in shown[:MOST_SPANS]:
        failed = f"  failed: {one.failed}" if one.failed else ""
        took = f"{one.took.total_seconds() * 1000:>9,.1f} ms"
        yield f"  {clock(one.began)} {since(one.began, first)}  {took}  {one.service:<10}{one.name}{failed}"
    if len(shown) > MOST_SPANS:
        yield f"  … and {len(shown) - MOST_SPANS:,} more"


def clock(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds")[:23] if at else " " * 23


def since(at: datetime | None, last: datetime | None) -> str:
    return f"{(at - last).total_seconds():>+10.3f} s" if at and last else " " * 12


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.journey", description=__doc__)
    parser.add_argument("user", metavar="UUID", help="the user's id, login.uuid")
    given = parser.parse_args(argv).user.strip()
    logs.start("journey", level=40)
    hops.hush()
    try:
        user_id = msgspec.convert(given.lower(), Uuid)
        wanted = settings.read(Settings, settings.environ())
    except msgspec.ValidationError:
        print(f"{given!r} is no user's id; one looks like 3f2b8a1c-90de-4c1b-8a77-0d5b5f3c2e19", file=sys.stderr)
        return 2
    except settings.WrongSetting as error:
        print(error, file=sys.stderr)
        return 2
    found = follow(wanted, user_id)
    if not found.steps:
        print(f"user {user_id} is nowhere; looked in: {', '.join(found.looked) or 'nothing'}", *found.notes, sep="\n")
        return 1
    every, why_none = spans.asked(wanted.jaeger, found.trace_id) if found.trace_id else ([], "")
    for line in text(found, spans.of_message(every, found.message), why_none, wanted.jaeger):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
