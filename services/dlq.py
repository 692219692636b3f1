"""
The dead letters: `list` them, and `replay` those that are users after all, now that the code or the source was mended.

A letter is sent to users.raw once: what the topic holds already, by the letter's place or the user's id, is left, so is
who was forgotten. The letters stay where they are, until their topic's retention ends.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from kafka import KafkaConsumer, KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError
from pymongo.errors import PyMongoError

from observability import access, lock, logs, settings
from services import hops, records, topics
from services.contract import (
    DEAD_LETTERS,
    INGEST,
    MAX_DEAD_LETTER_BYTES,
    ORIGIN,
    REASON,
    REPLAY,
    STAGE,
    USERS,
    ContractError,
    Fetch,
    UserEvent,
    decode,
    encode,
)

ONE_LINE = 160  # characters of a letter's reason that `list` shows
DELIVERY_S = 60


@dataclass(frozen=True)
class Settings(access.Kafka, access.Mongo):
    """Where the letters are, and how large a record may be."""

    state: Path
    max_record_bytes: int


@dataclass(frozen=True)
class Letter:
    """A dead letter: where it lies, when it was put there (Unix ms), and what was said of it."""

    place: str
    at_ms: int
    stage: str
    reason: str
    origin: str
    key: str | None
    original: bytes


class Undecided(Exception):
    """The brokers did not take all; what they took is on the topic, and the same call goes on."""


def read(reader: KafkaConsumer, reason: str = "") -> Iterator[Letter]:
    """
    Yield the letters that are there now, oldest first, with `reason` in their reason.

    Raises:
        TopicUnreadable, KafkaError: the brokers do not give them.
    """
    for record in _all(reader, DEAD_LETTERS):
        headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
        found = Letter(
            place=f"{record.topic}:{record.partition}:{record.offset}",
            at_ms=record.timestamp,
            stage=headers.get(STAGE, ""),
            reason=headers.get(REASON, ""),
            origin=headers.get(ORIGIN, ""),
            key=record.key.decode(errors="replace") if record.key else None,
            original=record.value or b"",
        )
        if reason in found.reason:
            yield found


def _all(reader: KafkaConsumer, topic: str) -> Iterator[ConsumerRecord]:
    places = topics.partitions(reader, topic)
    return topics.records(reader, topics.begins(reader, places), topics.ends(reader, places))


def event(letter: Letter, max_bytes: int) -> UserEvent:
    """
    Read a letter again, as the stage that set it aside would now.

    Raises:
        ContractError: it is still no user, or does not say which call it came with.
    """
    if letter.stage != INGEST:
        return decode(letter.original)
    try:
        fetch = msgspec.json.decode(letter.origin, type=Fetch)
    except msgspec.DecodeError as error:
        raise ContractError(f"{ORIGIN}: {error}") from error
    return records.parse(letter.original, fetch.source, fetch.fetched_at, max_bytes)


def replay(wanted: Settings, reader: KafkaConsumer, letters: Sequence[Letter]) -> dict[str, int]:
    """
    Send the users among these letters to users.raw; return how many were sent, and of the others why they were not.

    Raises:
        PyMongoError: MongoDB does not say who was forgotten.
        Undecided: the brokers did not take all of them; call again.
        TopicUnreadable, KafkaError: the brokers cannot be read.
    """
    known: set[str] = set()
    forgotten = hops.forgotten(wanted)
    originals = {letter.origin for letter in letters}
    for record in _all(reader, USERS):
        if f"{record.topic}:{record.partition}:{record.offset}" in originals:
            continue  # the poison that the letter was made of: it has the user's key, and is no user
        known.add((record.key or b"").decode(errors="replace"))
        known.update((value or b"").decode(errors="replace") for name, value in record.headers if name == REPLAY)
    counts = {"sent": 0, "there already": 0, "still refused": 0, "forgotten": 0}
    producer = KafkaProducer(
        **wanted.kafka(),
        acks="all",
        enable_idempotence=True,
        max_request_size=2 * MAX_DEAD_LETTER_BYTES,
        delivery_timeout_ms=DELIVERY_S * 1000,
        max_block_ms=10_000,
        bootstrap_timeout_ms=5_000,
        allow_auto_create_topics=False,
    )
    try:
        sent = []
        for letter in letters:
            try:
                user = event(letter, wanted.max_record_bytes)
            except ContractError:
                counts["still refused"] += 1
                continue
            if user.user_id in forgotten:
                counts["forgotten"] += 1
                continue
            if {letter.place, user.user_id} & known:
                counts["there already"] += 1
                continue
            known.add(user.user_id)
            headers = [(REPLAY, letter.place.encode())]
            sent.append(producer.send(USERS, encode(user), user.user_id.encode(), headers))
        producer.flush(timeout=DELIVERY_S)
        for one in sent:
            one.get(timeout=1)
    except KafkaError as error:
        raise Undecided(f"the brokers did not take all of them ({error}); the same command goes on") from error
    finally:
        producer.close(timeout=1)
    return counts | {"sent": len(sent)}


def line(letter: Letter) -> str:
    """A letter in one line, without what it holds of a person."""
    reason = letter.reason if len(letter.reason) <= ONE_LINE else letter.reason[:ONE_LINE] + "…"
    return f"{letter.place:<16}{letter.stage:<8}{len(letter.original):>9,} bytes  {reason}"


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="python -m services.dlq", description=__doc__)
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="list|replay")
    for name, words in (("list", "one line a letter"), ("replay", "send those that are users now to users.raw")):
        verb = verbs.add_parser(name, help=words, description=words)
        verb.add_argument("--reason", default="", metavar="TEXT", help="only letters with this in their reason")
        if name == "list":
            verb.add_argument("--originals", action="store_true", help="show also what was set aside; it is personal")
    return whole


def main(argv: list[str] | None = None) -> int:
    asked = parser().parse_args(argv)
    logs.start("dlq", level=40)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what does not answer is told below, in a sentence
    try:
        wanted = settings.read(Settings, settings.environ())
    except settings.WrongSetting as error:
        print(error, file=sys.stderr)
        return 2
    try:
        reader = topics.consumer(wanted)
        try:
            letters = list(read(reader, asked.reason))
            if asked.verb == "list":
                for letter in letters:
                    print(line(letter))
                    if asked.originals:
                        print("    " + letter.original.decode(errors="replace"))
                print(f"{len(letters):,} dead letters")
                return 0
            with lock.alone(wanted.state / "replay.lock", "another replay is at work: wait for it"):
                counts = replay(wanted, reader, letters)
        finally:
            reader.close()
    except (KafkaError, topics.TopicUnreadable) as error:
        print(f"the brokers do not give the letters (make status): {error}", file=sys.stderr)
        return 1
    except PyMongoError as error:
        print(f"MongoDB does not say who was forgotten (make status): {str(error)[:200]}", file=sys.stderr)
        return 1
    except (lock.Held, Undecided) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(", ".join(f"{n:,} {what}" for what, n in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
