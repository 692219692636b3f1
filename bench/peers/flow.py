"""Bytewax: `python -m bytewax.run "bench.peers.flow:flow()"`. Without a recovery store it begins anew."""

import json
from datetime import timedelta
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from bench.peers import job
from services.contract import USERS

Document = dict[str, Any]


class Partition(StatelessSinkPartition[tuple[str, list[Document]]]):
    def __init__(self) -> None:
        self.job = job.Job("bench_bytewax")

    def write_batch(self, items: list[tuple[str, list[Document]]]) -> None:
        for _, documents in items:
            self.job.take(documents)


class Stores(DynamicSink[tuple[str, list[Document]]]):
    """Both stores."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Partition:  # noqa: ARG002 its names are bytewax's
        return Partition()


def parsed(message: Any) -> tuple[str, Document]:
    """The document, keyed by its partition, by which it is batched."""
    at = int(message.timestamp[1])
    return str(message.partition), job.document(json.loads(message.value), message.partition, message.offset, at)


def flow() -> Dataflow:
    made = Dataflow("users")
    source = KafkaSource(job.brokers().split(","), [USERS], batch_size=job.AT_ONCE)
    documents = op.map("parse", op.input("read", made, source), parsed)
    batches = op.collect("batch", documents, timedelta(seconds=0.5), job.AT_ONCE)
    op.output("write", batches, Stores())
    return made
