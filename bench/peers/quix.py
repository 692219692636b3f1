"""Quix Streams: a streaming dataframe into a sink of both stores, which is written at each checkpoint."""

import os

from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

from bench.peers import job
from services.contract import USERS


class Stores(BatchingSink):
    """Writes a checkpoint's messages of one partition; their offsets are committed once it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.job = job.Job("bench_quix")

    def write(self, batch: SinkBatch) -> None:
        self.job.take([job.document(one.value, batch.partition, one.offset, one.timestamp) for one in batch])


def main() -> None:
    group = {"session.timeout.ms": job.HELD_MS, "max.poll.interval.ms": job.HELD_MS}
    app = Application(
        broker_address=job.brokers(),
        consumer_group="bench-quix",
        auto_offset_reset="earliest",
        commit_every=3 * job.AT_ONCE,  # a batch for each of three partitions
        consumer_extra_config=group,
        state_dir=f"{os.environ['TMPDIR']}/quix",
        loglevel="WARNING",
    )
    app.dataframe(app.topic(USERS, value_deserializer="json")).sink(Stores())
    app.run()


if __name__ == "__main__":
    main()
