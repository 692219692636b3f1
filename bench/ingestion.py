"""How many users a second come into the topic: ours, the parts that it is made of, and the family's way."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench import limits
from bench.notebook import Notebook
from bench.result import OURS
from bench.system import System, until
from observability import settings
from services import contract, publisher, topics
from services.outbox import Outbox
from services.source import Cursor

RATE, CPU = "users/s", "us/user"
BY_CALL = "a call a user"


def measure(of: System, book: Notebook) -> None:
    """Ingestion against kafka-python, the JVM client, its own outbox and publisher, and a call a user."""
    sent = limits.messages(book.size.messages)
    limits.make_topic(of)
    for n in range(book.size.rounds):
        filled = of.fill(book.size.little)
        book.note(OURS, "ingested", filled.users / filled.seconds, RATE, at=n)
        book.note(OURS, "processor time", filled.cpu_s / filled.users * 1e6, CPU, at=n)
        book.note("limit: kafka-python sends", "ingested", limits.python_produces(of, sent), RATE, at=n)
        with tempfile.TemporaryDirectory() as folder:
            book.note("limit: JVM client sends", "ingested", limits.java_produces(of, sent, Path(folder)), RATE, at=n)
        kept, published = outbox_and_publisher(of, sent)
        book.note("part: outbox keeps", "ingested", kept, RATE, at=n)
        book.note("part: outbox to topic", "ingested", published, RATE, at=n)
        book.note(BY_CALL, "ingested", by_call(of, book.size.slow_s / 4), RATE, at=n)


def outbox_and_publisher(of: System, sent: list[limits.Message]) -> tuple[float, float]:
    """How many users a second a new outbox keeps, page by page, and how many its publisher then delivers."""
    events = [contract.decode(value) for _, value in sent]
    with tempfile.TemporaryDirectory() as folder:
        outbox = Outbox(Path(folder, "outbox.sqlite"))
        outbox.look_from(ends(of))  # as if it had always been there

        def keep() -> None:
            for n, at in enumerate(range(0, len(events), 100), 1):
                outbox.keep(Cursor("limits", n, 100, ""), events[at : at + 100], [])

        kept = limits.a_second(len(events), keep)
        stopping = threading.Event()
        sending = publisher.Publisher(outbox, limits.brokers(of), stopping)
        thread = threading.Thread(target=sending.run, daemon=True)
        thread.start()
        sending.looked_back.wait(60)
        began, there = time.monotonic(), outbox.counts().waiting
        until(lambda: not outbox.waiting(0, 1), 120, "the outbox in the topic")
        published = there / (time.monotonic() - began)
        of.strangers += there
        stopping.set()
        thread.join(10)
        outbox.close()
    return kept, published


def ends(of: System) -> dict[tuple[str, int], int]:
    """Where users.raw ends now."""
    reader = topics.consumer(limits.brokers(of))
    try:
        found = topics.ends(reader, topics.partitions(reader, contract.USERS))
    finally:
        reader.close()
    return {(tp.topic, tp.partition): end for tp, end in found.items()}


def by_call(of: System, limit_s: float) -> float:
    command = [sys.executable, "-m", "bench.peers.calls", limits.SCRATCH, str(limit_s)]
    done = subprocess.run(
        command, env=of.env, cwd=settings.ROOT, capture_output=True, text=True, timeout=limit_s + 60, check=True
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return float(found["users"]) / float(found["seconds"])
