"""
Class-data sharing: what the start of a Java engine loads is kept parsed and verified, and later starts map it.

A JVM without an archive lists the classes that it loads. When users flow, `make up` has Java make an archive of each
list, once. An archive's name has a hash of what Java asks before it takes one: its own version, and the jars.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from engines import builds, jvm
from engines.console import say
from engines.fetch import GENTLE
from engines.state import State
from observability import lock
from observability.settings import MARK

KAFKA, CASSANDRA, SPARK = "kafka", "cassandra", "spark"
PROGRAMS = {KAFKA: "kafka-1", CASSANDRA: CASSANDRA, SPARK: SPARK}  # whose list it is made of
USE, LIST = "-XX:SharedArchiveFile=", "-XX:DumpLoadedClassList="
LONGEST_S = 240  # for all of them: who waits for `make up` does not wait for these
LEAST_S = 20
HEAP = "-Xmx512m"
FREE = 1_000_000_000  # bytes of memory that must be there for one
OLD_S = 7 * 24 * 3600  # what is of another Java or other jars, and no younger, is removed
FOLDERS = ("SPARK_CONF_DIR", "HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_DIST_CLASSPATH", "SPARK_HOME")


def folder(engine: str) -> Path:
    """Where an engine's archives are: beside its jars; Spark's in this environment, whose jars are PySpark's."""
    return Path(sys.prefix) if engine == SPARK else builds.named(engine)


def file(engine: str, java: str, *more: Path) -> Path:
    """The archive of an engine with this JAVA_HOME, its own jars and those of `more` folders; it may not be there."""
    told = hashlib.sha256(release.read_bytes() if (release := Path(java, "release")).is_file() else java.encode())
    classes = [*Path(java, "lib").glob("modules"), *(jar for one in (jars(engine), *more) for jar in one.glob("*.jar"))]
    for one in sorted(classes):
        there = one.stat()
        told.update(f"{one} {there.st_size} {there.st_mtime_ns}\n".encode())
    return folder(engine) / f"{engine}-{told.hexdigest()[:12]}.jsa"


def jars(engine: str) -> Path:
    if engine != SPARK:
        return builds.named(engine)
    found = importlib.util.find_spec("pyspark")
    assert found is not None, "it is one of our requirements"  # noqa: S101
    return Path(str(found.origin)).parent / "jars"


def shared(archive: Path) -> tuple[str, ...]:
    """The option that maps the archive; none if it is not there."""
    return (f"{USE}{archive}",) if archive.is_file() else ()


def shared_or_listed(archive: Path, program: str, state: State) -> tuple[str, ...]:
    """The option of a start: to map the archive, or, of one program for each, to list what it would have."""
    listed = (f"{LIST}{state.tmp / program}.classes",) if program in PROGRAMS.values() else ()
    return shared(archive) or listed


def of_spark(env: Mapping[str, str], state: State, java: str) -> str:
    """
    The same as options of Spark's driver, with those that the user has.

    Only for the driver of this machine's own session: a cluster's has other jars, and Java takes no archive where the
    class path has a folder, as each of FOLDERS brings one.
    """
    theirs = env.get("SPARK_SUBMIT_OPTS", "")
    if not env["SPARK_MASTER"].startswith("local") or any(env.get(name) for name in FOLDERS):
        return theirs
    ours = shared_or_listed(file(SPARK, java, *besides(SPARK, env)), SPARK, state)
    return " ".join((theirs, *(f'"{option}"' for option in ours)))


def make(pids: Mapping[str, int], state: State, env: Mapping[str, str]) -> None:
    """Make the archives that are missing, of what the programs of these pids have listed; what fails is only said."""
    ends = time.monotonic() + LONGEST_S
    for engine, program in PROGRAMS.items():
        with suppress(psutil.Error, OSError):  # it has ended meanwhile; the disk is full
            for command in listing(pids.get(program, 0)):
                archive = file(
                    engine, str(Path(command[0]).parent.parent), *besides(engine, env)
                )  # now the jars are there
                once(command, archive, state, env, ends)


def listing(pid: int) -> Iterator[list[str]]:
    """The command lines of this process and of those below it that list their classes; none for 0."""
    if pid:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):  # it has ended meanwhile
                words = one.cmdline()
                if any(word.startswith(LIST) for word in words) and "-cp" in words:
                    yield words


def besides(engine: str, env: Mapping[str, str]) -> tuple[Path, ...]:
    """The folders of jars that an engine has besides its own."""
    return (Path(env["VIGIE_SPARK_JARS"]),) if engine == SPARK else ()


def once(command: Sequence[str], archive: Path, state: State, env: Mapping[str, str], ends: float) -> None:
    """`dump`, unless it is done, or another start is at it: the archive may be of several systems."""
    where, engine = archive.parent, archive.stem.rpartition("-")[0]
    left_s, free = ends - time.monotonic(), psutil.virtual_memory().available
    if left_s < LEAST_S or free < FREE or not os.access(where, os.W_OK):
        return
    with suppress(lock.Held), lock.alone(where / f".{engine}.jsa.lock", "another start makes it"):
        if archive.exists():
            return
        for one in [*where.glob(f".{engine}-*.part"), *where.glob(f"{engine}-*.jsa")]:
            if one.suffix == ".part" or one.stat().st_mtime < time.time() - OLD_S:
                one.unlink(missing_ok=True)
        say(f"  making an archive of {engine}'s classes, for quicker starts")
        dump(command, archive, dict(env) | {MARK: str(state.root)}, left_s)


def dump(command: Sequence[str], archive: Path, env: Mapping[str, str], limit_s: float) -> None:
    """
    Have the Java of this command line make an archive of the classes that are listed so far.

    The archive appears when it is whole. What fails is said, and nothing is left of it.
    """
    began, part = time.monotonic(), archive.with_name(f".{archive.name}.part")
    listed = Path(next(word.removeprefix(LIST) for word in command if word.startswith(LIST)))
    whole = listed.with_suffix(".whole")
    options = (f"-XX:SharedClassListFile={whole}", f"{USE}{part}", HEAP, *jvm.LEAN)
    try:
        whole.write_bytes(listed.read_bytes().rpartition(b"\n")[0] + b"\n")  # it may be in the middle of a line
        subprocess.run(
            [*GENTLE, command[0], "-Xshare:dump", *options, "-cp", command[command.index("-cp") + 1]],
            env=env,
            capture_output=True,
            timeout=limit_s,
            check=True,
        )
        part.chmod(0o644)  # Java makes it so that `rm -r` would ask
        part.rename(archive)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or b"")[-500:].decode(errors="replace")
        say(f"  {archive.stem}: no archive, so starts stay as slow as they are: {error} {said}")
    else:
        say(f"  {archive.stem:<12} {time.monotonic() - began:4.0f} s  done, {archive.stat().st_size / 1e6:.0f} MB")
    finally:
        part.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)
