"""
What the parts can do on this machine by themselves: the best that anything built of them could reach.

Each returns how many a second, on topics, databases and keyspaces of its own, but for the reads of users.raw.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from kafka import KafkaAdminClient, KafkaProducer
from pymongo import MongoClient

from bench.peers import job
from bench.system import System
from engines import builds
from observability import access, settings
from observability.settings import ROOT
from services import contract, records, topics
from services.simulator import people
from spark import documents, stores

SCRATCH = "bench_scratch"  # a topic, a database, a keyspace
THREADS, AT_ONCE = 2, 1000
MANY = 8
TOOL_S = 400
SETTLED_S = 3.0  # by then the embedded server has emptied the indexes that it would not read
Message = tuple[bytes, bytes]  # key, value


def messages(users: int) -> list[Message]:
    """So many users as ingestion would send them."""
    source, now = contract.Source("limits", 1, users), datetime.now(UTC)
    drawn = (json.dumps(one).encode() for one in people.users("limits", 1, users, today=now.date()))
    events = (records.parse(raw, source, now, 2**18) for raw in drawn)
    return [(event.user_id.encode(), contract.encode(event)) for event in events]


def a_second(n: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return n / (time.perf_counter() - began)


def brokers(of: System) -> access.Kafka:
    return settings.read(access.Kafka, of.env)


def make_topic(of: System) -> None:
    """The scratch topic, with the partitions and copies of users.raw."""
    wanted = settings.read(topics.Settings, of.env)
    replicas, in_sync = topics.copies(wanted)
    admin = KafkaAdminClient(**wanted.kafka())
    configs = {"min.insync.replicas": str(in_sync)}
    description = {"num_partitions": wanted.partitions, "replication_factor": replicas, "configs": configs}
    try:
        admin.create_topics({SCRATCH: description}, wait_for_metadata=True)
    finally:
        admin.close()


def python_produces(of: System, sent: Sequence[Message], topic: str = SCRATCH) -> float:
    """kafka-python with the publisher's settings; not timed is the first message, which waits for the metadata."""
    first, *others = sent
    producer = KafkaProducer(
        **brokers(of).kafka(), acks="all", enable_idempotence=True, linger_ms=5, batch_size=131_072
    )

    def work() -> None:
        for key, value in others:
            producer.send(topic, value, key, [(contract.ROW, b"bench:1")])
        producer.flush(60)

    try:
        producer.send(topic, first[1], first[0], [(contract.ROW, b"bench:1")]).get(10)
        return a_second(len(others), work)
    finally:
        producer.close()


def python_consumes(of: System, users: int) -> float:
    """kafka-python, users.raw from its begin, not even decoded."""
    reader = topics.consumer(brokers(of))
    try:
        places = topics.partitions(reader, contract.USERS)
        begins = topics.begins(reader, places)
        ends = {tp: min(end, begins[tp] + users // len(places)) for tp, end in topics.ends(reader, places).items()}
        n = sum(ends[tp] - begins[tp] for tp in places)
        return a_second(n, lambda: sum(1 for _ in topics.records(reader, begins, ends)))
    finally:
        reader.close()


def tool(of: System, *words: str) -> str:
    """One of Kafka's own performance tools, to its end."""
    command = [f"{of.env['JAVA_HOME']}/bin/java", "-Xmx512m", "-cp", f"{builds.named('kafka')}/*", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=TOOL_S, check=True).stdout


def java_produces(of: System, sent: Sequence[Message], folder: Path) -> float:
    """
    The JVM client by `kafka-producer-perf-test`, with these values, MANY times, and the publisher's settings. Its time
    has the metadata in it, its messages have neither key nor header.
    """
    payload = folder / "payload"
    payload.write_bytes(b"\n".join(value for _, value in sent))
    properties = f"bootstrap.servers={of.setting('KAFKA_BOOTSTRAP')} acks=all linger.ms=5 batch.size=131072".split()
    words = ["--topic", SCRATCH, "--num-records", str(MANY * len(sent)), "--throughput", "-1"]
    words += ["--payload-file", str(payload), "--producer-props", *properties]
    said = tool(of, "org.apache.kafka.tools.ProducerPerformance", *words)
    return float(re.findall(r"([0-9.]+) records/sec", said)[-1])


def java_consumes(of: System, users: int) -> float:
    """The JVM client by `kafka-consumer-perf-test`, its join of a group left out."""
    words = ["--bootstrap-server", of.setting("KAFKA_BOOTSTRAP"), "--topic", contract.USERS]
    words += ["--num-records", str(users)]
    said = tool(of, "org.apache.kafka.tools.ConsumerPerformance", *words)
    return float(said.strip().splitlines()[-1].split(",")[-1])


def spark_reads(of: System, users: int) -> tuple[float, float]:
    """Spark, the newest of users.raw into nothing; and again through the lanes' decoding in its Python workers."""
    words = [sys.executable, "-m", "bench.nothing", str(users)]
    changed = {"VIGIE_SPARK_UI_PORT": "14042"}
    done = subprocess.run(
        words, env=of.env | changed, cwd=ROOT, capture_output=True, text=True, timeout=TOOL_S, check=True
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return float(found["plain"]), float(found["decoded"])


def mongodb_inserts(of: System, sent: Sequence[Message]) -> float:
    """Users, encoded beforehand, as bulk inserts of two threads into an empty collection with our indexes."""
    now = datetime.now(UTC)
    raw = [
        RawBSONDocument(bson.encode(documents.document(contract.decode(value), 0, n, now)))
        for n, (_, value) in enumerate(sent)
    ]
    parts = [raw[at : at + AT_ONCE] for at in range(0, len(raw), AT_ONCE)]
    wanted = settings.read(stores.Settings, of.env)
    with MongoClient[dict[str, Any]](**wanted.mongo(), w="majority", journal=True) as client:
        client.drop_database(SCRATCH)
        users = client[SCRATCH]["users"]
        for index in stores.INDEXES:
            users.create_index(index)
        time.sleep(SETTLED_S)

        def work() -> None:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(lambda part: users.insert_many(part, ordered=False), parts))

        rate = a_second(len(raw), work)
        client.drop_database(SCRATCH)
    return rate


def cassandra_writes(of: System, sent: Sequence[Message]) -> float:
    """Users by second: the rows that their sums change, a micro-batch at a time, written as the lane writes them."""
    at_once, now = int(of.setting("MAX_OFFSETS_PER_TRIGGER")), datetime.now(UTC)
    users = [documents.document(contract.decode(value), 0, n, now) for n, (_, value) in enumerate(sent)]
    wanted = settings.read(stores.Settings, of.env)
    to = job.Sums(stores.cassandra(wanted), SCRATCH, wanted)
    try:
        batches = [to.changed(users[at : at + at_once]) for at in range(0, len(users), at_once)]
        return a_second(len(users), lambda: list(map(to.put, batches)))
    finally:
        to.session.cluster.shutdown()
