"""Spark reads all of users.raw into nothing, three times, and says how many a second the last time."""

import argparse
import json
import time
from collections.abc import Iterator

import pyarrow as pa

from observability import settings
from services.contract import USERS, decode
from spark import seen, session


def decoded(parts: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        ids = [decode(value).user_id for value, *_ in seen.messages(part)]
        yield pa.RecordBatch.from_arrays([pa.array(ids, pa.string())], names=["user_id"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.nothing", description=__doc__)
    parser.add_argument("--python", action="store_true", help="through the lanes' decoding in Python")
    asked = parser.parse_args()
    wanted = settings.read(session.Settings, settings.environ())
    spark = session.start(wanted)
    records = session.flat(
        spark.read.format("kafka")
        .options(**{f"kafka.{key}": value for key, value in wanted.java().items()})
        .option("subscribe", USERS)
        .option("includeHeaders", "true")
        .load()
    )
    if asked.python:
        records = records.select(*seen.COLUMNS).mapInArrow(decoded, "user_id string")
    rows, rate = records.count(), 0.0
    for _ in range(3):
        began = time.perf_counter()
        records.write.format("noop").mode("overwrite").save()
        rate = rows / (time.perf_counter() - began)
    print(json.dumps({"users": rows, "rate": rate}))
    spark.stop()


if __name__ == "__main__":
    main()
