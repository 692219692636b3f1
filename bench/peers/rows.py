"""The family's way, as its tutorials have it: Spark, `count()` and `show()` in each batch, a write for each row."""

import os
from datetime import datetime
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 its usual name
from pyspark.sql.types import IntegerType, StringType, StructField, StructType

from bench.peers import job
from services.contract import USERS
from spark import stats
from spark.contract import EVERYONE, RAW, STATS

NAME = "bench_rows"
DATED = StructType([StructField("date", StringType()), StructField("age", IntegerType())])
SCHEMA = StructType(
    [
        *(StructField(name, StringType()) for name in ("user_id", "fetched_at", "gender", "nat", "email", "username")),
        *(StructField(name, StringType()) for name in ("phone", "cell", "id_name")),
        StructField("name", StructType([StructField(name, StringType()) for name in ("title", "first", "last")])),
        StructField("location", StructType([StructField(n, StringType()) for n in ("city", "state", "country")])),
        StructField("dob", DATED),
        StructField("registered", DATED),
    ]
)
TELL = 100
AT_ONCE = 1000  # the tutorials have no such limit: a backlog would be one batch, and nothing be there until its end


def main() -> None:
    spark = (
        SparkSession.builder.appName(NAME)
        .master("local[*]")
        .config("spark.jars", ",".join(map(str, Path(os.environ["VIGIE_SPARK_JARS"]).glob("*.jar"))))
        .config("spark.ui.port", os.environ["VIGIE_SPARK_UI_PORT"])
        .config("spark.local.dir", os.environ["TMPDIR"])
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.storage.blockManagerHeartbeatTimeoutMs", str(24 * 3600 * 1000))  # it is held for minutes
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    to = job.Job(NAME)

    def store(batch: DataFrame, _: int) -> None:
        print(f"storing {batch.count()} users")
        batch.show(5)
        n = 0
        for n, row in enumerate(batch.toLocalIterator(), 1):
            fields = row.user.asDict(recursive=True)
            to.insert([job.document(fields, row.partition, row.offset, int(row.timestamp.timestamp() * 1000))])
            if n % TELL == 0:
                job.tell(RAW, TELL)
        job.tell(RAW, n % TELL)

    def count(batch: DataFrame, _: int) -> None:
        print(f"updating {batch.count()} sums")
        batch.show(5)
        rows = batch.collect()
        for row in rows:
            values = (row.dimension, row.minute.date(), row.minute, row.value, row.users, row.age_sum)
            to.sums.session.execute(to.sums.put_minute, values)
        now = {row.minute: row.users for row in rows if row.dimension == EVERYONE}
        job.tell(STATS, sum(users - counted.get(minute, 0) for minute, users in now.items()))
        counted.update(now)

    counted: dict[datetime, int] = {}
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", job.brokers())
        .option("subscribe", USERS)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", AT_ONCE)
        .load()
    )
    users = records.select(
        F.from_json(F.col("value").cast("string"), SCHEMA).alias("user"), "partition", "offset", "timestamp"
    )
    sums = stats.summed(
        users.withWatermark("timestamp", "10 minutes").select(
            F.col("timestamp").alias("at"),
            F.col("user.fetched_at").alias("fetched_at"),
            F.col("user.location.country").alias("country"),
            F.col("user.gender").alias("gender"),
            F.col("user.nat").alias("nationality"),
            F.col("user.dob.age").alias("age"),
        )
    )
    place = f"{os.environ['VIGIE_STATE']}/data/{NAME}"
    users.writeStream.foreachBatch(store).option("checkpointLocation", f"{place}/raw").start()
    sums.writeStream.outputMode("update").foreachBatch(count).option("checkpointLocation", f"{place}/stats").start()
    spark.streams.awaitAnyTermination()


if __name__ == "__main__":
    main()
