"""On a real broker: what a message carries, what its batch's span says, and what a new outbox learns of an old one."""

import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime

import msgspec
import pytest
from kafka import KafkaProducer

from observability import access, settings, tracing
from services import canary, topics
from services.contract import DEAD_LETTERS, ROW, USERS, Fetch, Source, row_of
from services.outbox import Outbox
from services.publisher import Publisher
from services.records import Rejected
from services.source import Cursor

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PAGE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01"
LETTER = Rejected("a reason", b"{}", None, Fetch(Source("tests", 1, 10), AT), "not_json")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def brokers(tmp_path_factory):
    """One broker with our topics, of this file's own."""
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    ports = {f"VIGIE_KAFKA_{one}PORT": str(free_port()) for one in ("", "CONTROLLER_", "JMX_")}
    small = {"VIGIE_BROKERS": "1", "VIGIE_WATCH": "0", "VIGIE_LIGHT_NEEDED_MEMORY_MB": "500", "VIGIE_PARTITIONS": "2"}
    env = outer | ports | small | {"VIGIE_STATE": str(tmp_path_factory.mktemp("broker"))}

    def engines(*words):
        command = [sys.executable, "-m", "engines", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)

    done = engines("up", "--only", "kafka")
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        topics.make(settings.read(topics.Settings, settings.environ(env)))
        yield access.Kafka(kafka_bootstrap=f"127.0.0.1:{ports['VIGIE_KAFKA_PORT']}")
    finally:
        engines("down")


def publish(outbox: Outbox, brokers: access.Kafka) -> None:
    """Run a publisher until nothing waits and the topics were looked at."""
    stopping = threading.Event()
    publisher = Publisher(outbox, brokers, stopping)
    thread = threading.Thread(target=publisher.run, daemon=True)
    thread.start()
    ends = time.monotonic() + 60
    while not publisher.looked_back.is_set() or outbox.waiting(0, 1):
        assert time.monotonic() < ends
        time.sleep(0.05)
    stopping.set()
    thread.join(20)
    assert not thread.is_alive()


def on_topics(brokers: access.Kafka, outbox: Outbox):
    """This outbox's messages, by row."""
    reader = topics.consumer(brokers)
    places = [*topics.partitions(reader, USERS), *topics.partitions(reader, DEAD_LETTERS)]
    begins, ends = reader.beginning_offsets(places), reader.end_offsets(places)
    found = {}
    for record in topics.records(reader, begins, ends):
        owner, _, seq = dict(record.headers)["vigie.row"].decode().partition(":")
        if owner == outbox.id:
            found[int(seq)] = record
    reader.close()
    return found


def test_messages_carry_their_pages_trace_and_a_journey_goes_on_in_its_own(brokers, tmp_path, users, spans):
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.keep(Cursor("tests", 1, 10), users[:5], [LETTER], PAGE, {users[1].user_id})
    outbox.keep(Cursor("tests", 2, 10), users[5:], [], OTHER)
    outbox.keep(Cursor("tests", 3, 10), users, [])  # ten known ones
    outbox.keep_canary(canary.event("0b0e7b9a-5f6e-4c58-9d4e-0f6b6b0a4f11", 1, AT), "")
    publish(outbox, brokers)

    sent = on_topics(brokers, outbox)
    carried = {seq: {k: v.decode() for k, v in one.headers if k.startswith("trace")} for seq, one in sent.items()}
    of_page, of_other = {"traceparent": PAGE}, {"traceparent": OTHER}
    assert carried == (
        dict.fromkeys(range(1, 7), of_page)
        | dict.fromkeys(range(7, 12), of_other)
        | {2: of_page | {"tracestate": "vigie=journey"}, 12: {}}
    )

    batches = {one.name: one for one in spans.get_finished_spans() if one.parent is None}
    assert {name: one.attributes["messaging.batch.message_count"] for name, one in batches.items()} == {
        "send users.raw": 11,
        "send users.dlq": 1,
    }
    linked = [tracing.traceparent(link.context) for link in batches["send users.raw"].links]
    assert linked == [PAGE, OTHER]
    (step,) = [one for one in spans.get_finished_spans() if one.parent is not None]
    assert tracing.traceparent(step.parent) == PAGE
    assert step.attributes["messaging.destination.partition.id"] == str(sent[2].partition)
    assert step.attributes["messaging.kafka.offset"] == sent[2].offset
    assert [link.context.span_id for link in step.links] == [batches["send users.raw"].context.span_id]

    counts = outbox.counts()
    assert (counts.acknowledged, counts.acknowledged_dead, counts.acknowledged_canaries) == (10, 1, 1)
    assert (counts.before, counts.before_dead, counts.waiting_canaries) == (0, 0, 0)


def test_a_message_that_claims_a_waiting_rows_number_does_not_let_it_go(brokers, tmp_path, users):
    outbox = Outbox(tmp_path / "outbox.sqlite")
    publish(outbox, brokers)  # it has looked at the topics once
    others = [msgspec.structs.replace(one, user_id=str(uuid.uuid4())) for one in users[:2]]
    outbox.keep(Cursor("claims", 1, 10), others, [])
    forged, sent = outbox.waiting(0, 2)
    with closing(KafkaProducer(**brokers.kafka())) as producer:
        claims = [(forged, b"not the row's"), (forged, None), (sent, sent.value)]
        for row, value in claims:  # the last: sent, and never acknowledged
            producer.send(USERS, value, row.key, [(ROW, f"{outbox.id}:{row.seq}".encode())]).get(timeout=10)
    publish(outbox, brokers)
    assert outbox.counts().acknowledged == 2
    with closing(topics.consumer(brokers)) as reader:
        places = topics.partitions(reader, USERS)
        records = topics.records(reader, reader.beginning_offsets(places), reader.end_offsets(places))
        values = Counter(one.value for one in records if row_of(one.headers, outbox.id) is not None)
    assert values == Counter([b"not the row's", None, forged.value, sent.value])


def test_a_new_outbox_remembers_how_much_earlier_ones_have_sent_and_goes_on_where_no_canary_was(
    brokers, tmp_path, users
):
    first = Outbox(tmp_path / "first.sqlite")
    first.keep(Cursor("tests", 1, 10), users, [LETTER])
    first.keep_canary(canary.event("1b0e7b9a-5f6e-4c58-9d4e-0f6b6b0a4f11", 5000, AT), "")
    publish(first, brokers)

    new = Outbox(tmp_path / "new.sqlite")
    publish(new, brokers)
    counts, before = new.counts(), first.counts()
    assert counts.before == before.before + 11
    assert counts.before_dead == before.before_dead + 1
    assert new.only_known(users)
    assert new.seed("") == "tests"
    assert new.cursor("canary", 1, "").page == 1
