"""The Spark session: one application for both lanes, sized for one machine, pointed at a cluster by SPARK_MASTER."""

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta
from pyspark.sql import DataFrame, SparkSession

from observability import access
from observability.tracing import JOURNEY, TRACEPARENT, TRACESTATE
from services.contract import ROW, USERS

LEAN = (  # ARCHITECTURE.md
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData -XX:+AlwaysPreTouch "
    "-XX:ReservedCodeCacheSize=128m "  # Spark fills 50; of its own 48 it throws away and compiles anew for ever
    "-XX:+ExitOnOutOfMemoryError"  # what lives on after one may have lost any of its threads
)
# Hadoop's own starts `chmod` and `readlink` for every checkpoint file: ARCHITECTURE.md
LOCAL_FILES = "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem"
CHECKPOINT_FILES = "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
PROMETHEUS = "org.apache.spark.metrics.sink.PrometheusServlet"
ROCKSDB = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
# For a heart in this very process. Who stood still for more than Spark's own two minutes (a paused machine) would lose
# its only executor, itself, and end ten minutes later as "unable to send heartbeats".
PATIENCE_MS = str(7 * 24 * 3600 * 1000)
Count = Annotated[int, Meta(ge=1)]
SCRATCH = Path("tmp", "spark")  # below the state folder


class JarsMissing(Exception):
    """Spark's connector to Kafka is not where VIGIE_SPARK_JARS says."""


@dataclass(frozen=True)
class Settings(access.Kafka):
    """What `.env` says of Spark."""

    state: Path
    spark_master: str = field(metadata={"key": "SPARK_MASTER"})
    spark_jars: str
    executor_python: str
    spark_ui_port: int
    spark_heap_mb: Count
    shuffle_partitions: Count
    max_offsets_per_trigger: Count
    host: str
    spark_host: str


def clear(state: Path) -> None:
    """Remove what a session that was killed has left: libraries, blocks, RocksDB's working copies."""
    shutil.rmtree(state / SCRATCH, ignore_errors=True)


def start(wanted: Settings) -> SparkSession:
    """
    Start the session; its JVM ends with this process.

    Raises:
        JarsMissing: the folder of jars is not there or empty, or lacks the local files.
    """
    jars = sorted(str(jar) for jar in Path(wanted.spark_jars).glob("*.jar")) if wanted.spark_jars else []
    if not jars:
        raise JarsMissing(
            f"VIGIE_SPARK_JARS={wanted.spark_jars!r} holds no jars; `make up` fetches them and says where"
        )
    scratch = wanted.state / SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ["SPARK_LOCAL_IP"] = wanted.host  # else Spark's page is open to every network that the machine is on
    os.environ["PYSPARK_PYTHON"] = wanted.executor_python or sys.executable
    options = {
        "spark.driver.memory": f"{wanted.spark_heap_mb}m",
        "spark.driver.host": wanted.spark_host,
        "spark.driver.bindAddress": wanted.host,
        "spark.driver.extraJavaOptions": f'"-Djava.io.tmpdir={scratch}" -Xms{wanted.spark_heap_mb // 2}m {LEAN}',
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.ui.port": str(wanted.spark_ui_port),
        "spark.port.maxRetries": "0",
        "spark.ui.showConsoleProgress": "false",
        "spark.ui.killEnabled": "false",  # its links work by GET: any page in the operator's browser could kill a batch
        "spark.ui.prometheus.enabled": "true",
        "spark.metrics.conf.*.sink.prometheusServlet.class": PROMETHEUS,
        "spark.metrics.conf.*.sink.prometheusServlet.path": "/metrics/prometheus",
        "spark.metrics.conf.driver.source.jvm.class": "org.apache.spark.metrics.source.JvmSource",  # room for code
        "spark.ui.retainedJobs": "100",
        "spark.ui.retainedStages": "100",
        "spark.ui.retainedTasks": "1000",
        "spark.sql.ui.retainedExecutions": "20",
        "spark.sql.streaming.ui.retainedQueries": "10",
        "spark.scheduler.mode": "FAIR",  # the lanes share the cores; neither waits behind the other's batch
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(wanted.shuffle_partitions),
        "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
        "spark.sql.streaming.stateStore.providerClass": ROCKSDB,
        "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
        "spark.sql.streaming.noDataMicroBatches.enabled": "false",
        "spark.sql.streaming.stopTimeout": "5s",
        "spark.sql.streaming.metricsEnabled": "true",
        "spark.sql.streaming.numRecentProgressUpdates": "10",
    }
    if wanted.spark_master.startswith("local"):
        options |= {
            "spark.driver.extraClassPath": ":".join(jars),  # spark-submit needs LOCAL_FILES before it has spark.jars
            "spark.hadoop.fs.file.impl": LOCAL_FILES,
            "spark.sql.streaming.checkpointFileManagerClass": CHECKPOINT_FILES,
            "spark.storage.blockManagerHeartbeatTimeoutMs": PATIENCE_MS,
        }
    else:
        options["spark.jars"] = ",".join(jars)
    builder = SparkSession.builder.master(wanted.spark_master).appName("vigie")
    for key, value in options.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    if wanted.spark_master.startswith("local"):
        without_checksums(session)
    return session


def without_checksums(session: SparkSession) -> None:
    """
    Hadoop writes a file of checksums beside each local one; the one object that does is this JVM's for all.

    Raises:
        JarsMissing: it is not LOCAL_FILES.
    """
    hadoop = session.sparkContext._jsc.hadoopConfiguration()
    jvm: Any = session._jvm
    files = jvm.org.apache.hadoop.fs.FileSystem.getLocal(hadoop)
    if files.getClass().getName() != LOCAL_FILES:
        raise JarsMissing(f"local files are {files.getClass().getName()}, not {LOCAL_FILES}: VIGIE_SPARK_JARS")
    files.setWriteChecksum(False)
    files.setVerifyChecksum(False)


TRACEPARENT_BYTES = 55  # of W3C's version 00; what is longer or shorter names no trace
FETCH_WAIT_MS = 10
REQUEST_MS, API_MS = 5_000, 10_000  # one question to a broker; all its tries: a leader's move may take 7 s
ASKED_AGAIN, ASKED_EVERY_MS = 10_000, 500


def header(name: str) -> str:
    """
    SQL: the value of a record's first header of this name.

    No lambda (`filter`, `exists`): Spark compiles none, and for every value that it interprets it reads its settings.
    """
    return f"get(headers.value, CAST(array_position(headers.key, '{name}') AS INT) - 1)"


COLUMNS = (
    "key",
    "value",
    "partition",
    "offset",
    "timestamp",
    f"coalesce(array_contains(headers.key, '{ROW}'), false) AS ours",
    f"CASE WHEN length({header(TRACEPARENT)}) = {TRACEPARENT_BYTES} THEN {header(TRACEPARENT)} END AS {TRACEPARENT}",
    f"coalesce({header(TRACESTATE)} = CAST('{JOURNEY}' AS BINARY), false) AS journey",
)


def messages(session: SparkSession, wanted: Settings) -> DataFrame:
    """
    Stream users.raw from its oldest record, as `flat` has it.

    A batch takes at most VIGIE_MAX_OFFSETS_PER_TRIGGER records. Records that Kafka forgot before they were read stop
    the lane (`failOnDataLoss`): they are lost, and it says so.

    Spark's consumer asks a broker where the partition begins and ends after each of its fetches, and the broker answers
    one connection's requests in turn: behind a fetch that was sent ahead and waits for new records. So none waits long.

    Spark's question where the topic ends may be put to a broker that has just died, and would wait for that one to come
    back, up to a minute: so it is put anew, to the others, after API_MS, as often as it takes. A task that asks for its
    place has the same time, and its batch is begun anew after it: it has to be longer than a leader's move.
    """
    return flat(
        session.readStream.format("kafka")
        .options(**{f"kafka.{key}": value for key, value in wanted.java().items()})
        .option("kafka.fetch.max.wait.ms", FETCH_WAIT_MS)
        .option("kafka.request.timeout.ms", REQUEST_MS)
        .option("kafka.default.api.timeout.ms", API_MS)
        .option("fetchOffset.numRetries", ASKED_AGAIN)
        .option("fetchOffset.retryIntervalMs", ASKED_EVERY_MS)
        .option("subscribe", USERS)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", wanted.max_offsets_per_trigger)
        .option("failOnDataLoss", "true")
        .option("includeHeaders", "true")
        .load()
    )


def flat(records: DataFrame) -> DataFrame:
    """
    Key, value, partition, offset, timestamp of each record, and of its headers: `ours`, `traceparent`, `journey`.

    The JVM takes the headers apart: nothing that somebody put there, however large, goes on to Python but a
    `traceparent` of the right length, as bytes. Of headers with the same name the first counts.
    """
    return records.selectExpr(*COLUMNS)
