"""Spark reads the newest of users.raw into nothing, plain and decoded, three times: how many a second the last time."""

import argparse
import json
import time
from collections.abc import Iterator

import pyarrow as pa

from observability import access, settings
from services import topics
from services.contract import USERS, decode
from spark import seen, session


def decoded(parts: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        ids = [decode(value).user_id for value, *_ in seen.messages(part)]
        yield pa.RecordBatch.from_arrays([pa.array(ids, pa.string())], names=["user_id"])


def places(users: int) -> dict[str, dict[str, dict[str, int]]]:
    """Where to begin and to end, so that so many users are read, as Spark's options have it."""
    reader = topics.consumer(settings.read(access.Kafka, settings.environ()))
    try:
        found = topics.partitions(reader, USERS)
        ends, begins = topics.ends(reader, found), topics.begins(reader, found)
    finally:
        reader.close()
    starts = {str(tp.partition): max(begins[tp], end - users // len(found)) for tp, end in ends.items()}
    stops = {str(tp.partition): end for tp, end in ends.items()}
    return {"startingOffsets": {USERS: starts}, "endingOffsets": {USERS: stops}}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.nothing", description=__doc__)
    parser.add_argument("users", type=int)
    asked = parser.parse_args()
    wanted = settings.read(session.Settings, settings.environ())
    spark = session.start(wanted)
    records = session.flat(
        spark.read.format("kafka")
        .options(**{f"kafka.{key}": value for key, value in wanted.java().items()})
        .options(**{key: json.dumps(value) for key, value in places(asked.users).items()})
        .option("kafka.fetch.max.wait.ms", session.FETCH_WAIT_MS)
        .option("subscribe", USERS)
        .option("includeHeaders", "true")
        .load()
    )
    rows, rates = records.count(), {}
    through = {"plain": records, "decoded": records.select(*seen.COLUMNS).mapInArrow(decoded, "user_id string")}
    for name, frame in through.items():
        for _ in range(3):
            began = time.perf_counter()
            frame.write.format("noop").mode("overwrite").save()
            rates[name] = rows / (time.perf_counter() - began)
    print(json.dumps({"users": rows, **rates}))
    spark.stop()


if __name__ == "__main__":
    main()
