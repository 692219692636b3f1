"""
A run as data: the machine, the versions, the settings, and every sample as it was taken.

    NoResult    a file is not a result that this version can read
"""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec
import psutil

from observability.settings import ROOT

FORMAT = 2
OURS = "vigie"
PACKAGES = ("pyspark", "kafka-python", "pymongo", "cassandra-driver", "msgspec", "pyarrow", "quixstreams", "bytewax")
TOLD = ("BROKERS", "PARTITIONS", "REPLICATION", "MAX_OFFSETS_PER_TRIGGER", "SHUFFLE_PARTITIONS", "TRIGGER_MS")
HEAPS = (
    "KAFKA_HEAP_MB",
    "CASSANDRA_HEAP_MB",
    "SPARK_HEAP_MB",
    "CASSANDRA_CONCURRENCY",
    "TRACE_SHARE",
    "TRACE_MAX_PER_S",
)
MORE_IS_BETTER = ("users/s", "% of the backlog")


class NoResult(Exception):
    """The file is not a result that this version can read; the text says why."""


class Sample(msgspec.Struct, frozen=True):
    """One figure: of `subject` (ours, a peer, or a part's limit) in a `case` (66 users/s), in one round."""

    what: str
    subject: str
    metric: str
    unit: str
    value: float
    round: int
    case: str = ""


class Result(msgspec.Struct, frozen=True):
    """A whole run; `absent` says for each peer that could not run why, `load` is the machine's load before it."""

    format: int
    began: datetime
    short: bool
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, str]
    load: float
    samples: list[Sample] = []
    absent: dict[str, str] = {}
    seconds: float = 0.0


def begun(env: Mapping[str, str], form: Mapping[str, str], *, short: bool) -> Result:
    """A result without samples, of this machine now; the `form` is how much is measured."""
    told = {f"VIGIE_{key}": env[f"VIGIE_{key}"] for key in (*TOLD, *HEAPS)} | dict(form)
    return Result(FORMAT, datetime.now(UTC), short, machine(), versions(), told, os.getloadavg()[0])


def machine() -> dict[str, str]:
    return {
        "system": platform.platform(terse=True),
        "processor": processor(),
        "processors": str(psutil.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "python": sys.version.split()[0],
    }


def processor() -> str:
    """The processor's name, where the system tells."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def versions() -> dict[str, str]:
    """What is compared, by version; ours by its commit."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    described = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(described, capture_output=True, text=True, timeout=10, check=False)
    return {OURS: done.stdout.strip() or metadata.version("vigie")} | found


def written(result: Result, folder: Path) -> Path:
    """Write a result; its name is the time that it began."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{result.began:%Y%m%dT%H%M%S}.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
    return file


def load(file: Path) -> Result:
    """
    Read a result.

    Raises:
        NoResult: it is not there, or is none.
    """
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Result)
    except (OSError, msgspec.DecodeError) as error:
        raise NoResult(f"{file}: {error}") from error
    if found.format != FORMAT:
        raise NoResult(f"{file}: format {found.format}; this version reads {FORMAT}")
    return found


def values(samples: list[Sample]) -> dict[tuple[str, str, str, str], list[Sample]]:
    """The samples of each (what, case, metric, subject), in the order in which they were first met."""
    found: dict[tuple[str, str, str, str], list[Sample]] = {}
    for one in samples:
        found.setdefault((one.what, one.case, one.metric, one.subject), []).append(one)
    return found
