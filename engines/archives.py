"""
Class-data sharing: what the start of a Java engine loads is kept parsed and verified, and later starts map it.

A JVM without an archive lists the classes that it loads. When users flow, `make up` begins a process that has Java make
an archive of each list, gently, and does not wait for it. The name of an archive has a hash of what Java asks before it
takes one: its own version, and the jars.

`python -m engines.archives PROGRAM=PID ...` is that process.
"""

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from engines import builds, jvm, leftovers
from engines.console import say
from engines.fetch import GENTLE
from engines.state import State
from observability import lock
from observability.settings import MARK, ROOT

KAFKA, CASSANDRA, SPARK = "kafka", "cassandra", "spark"
PROGRAMS = {KAFKA: "kafka-1", CASSANDRA: CASSANDRA, SPARK: SPARK}  # whose list it is made of
USE, LIST = "-XX:SharedArchiveFile=", "-XX:DumpLoadedClassList="
LONGEST_S = 1200  # on processors that have much else to do
LOG = "archives"
MODULE = "engines.archives"
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


def begin(pids: Mapping[str, int], state: State, env: Mapping[str, str]) -> bool:
    """Begin to make what is missing of these programs' archives, in a process that `make down` ends; whether it has."""
    if at_work(state):
        return True
    with suppress(OSError):  # the disk is full
        if any(missing(pids, env)):
            words = [f"{name}={pid}" for name, pid in pids.items() if name in PROGRAMS.values()]
            marked = dict(env) | {MARK: str(state.root)}
            with state.log(LOG).open("ab") as log:
                command = [*GENTLE, sys.executable, "-m", MODULE, *words]
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=marked,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            return True
    return False


def at_work(state: State) -> bool:
    """Whether such a process of this system is not done yet."""
    for one in leftovers.marked(state.root):
        with suppress(psutil.Error):  # it has just ended
            if MODULE in one.cmdline():
                return True
    return False


def missing(pids: Mapping[str, int], env: Mapping[str, str]) -> Iterator[tuple[list[str], Path]]:
    """
    The command lines of the programs that list their classes, each with the archive that is not there yet.

    An archive's name is asked for now, not at the start: before the first fetch there were no jars.
    """
    for engine, program in PROGRAMS.items():
        try:
            commands = list(listing(pids.get(program, 0)))
        except psutil.Error:  # it has ended meanwhile: the next `make up` will find another
            continue
        for command in commands:
            folders = (jars(engine), *besides(engine, env))
            archive = file(engine, str(Path(command[0]).parent.parent), *folders[1:])
            of_these = all(str(one) in command[command.index("-cp") + 1] for one in folders)  # not of another version
            if of_these and not archive.exists():
                yield command, archive


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


def once(command: Sequence[str], archive: Path, env: Mapping[str, str]) -> None:
    """`dump`, unless it is done, or another start is at it: the archive may be of several systems."""
    where, engine = archive.parent, archive.stem.rpartition("-")[0]
    if psutil.virtual_memory().available < FREE or not os.access(where, os.W_OK):
        say(f"{archive.stem}: no archive: less than 1 GB of memory is free, or {where} may not be written")
        return
    try:
        with lock.alone(where / f".{engine}.jsa.lock", f"{archive.stem}: another start makes it"):
            if archive.exists():
                return
            for one in [*where.glob(f".{engine}-*.part"), *where.glob(f"{engine}-*.jsa")]:
                if one.suffix == ".part" or one.stat().st_mtime < time.time() - OLD_S:
                    one.unlink(missing_ok=True)
            dump(command, archive, env)
    except lock.Held as held:
        say(str(held))


def dump(command: Sequence[str], archive: Path, env: Mapping[str, str]) -> None:
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
            [command[0], "-Xshare:dump", *options, "-cp", command[command.index("-cp") + 1]],
            env=dict(env),
            capture_output=True,
            timeout=LONGEST_S,
            check=True,
        )
        part.chmod(0o644)  # Java makes it so that `rm -r` would ask
        part.rename(archive)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or b"")[-500:].decode(errors="replace")
        say(f"{archive.stem}: no archive, so starts stay as slow as they are: {error} {said}")
    else:
        say(f"{archive.stem}: {time.monotonic() - began:4.0f} s  done, {archive.stat().st_size / 1e6:.0f} MB")
    finally:
        part.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)


def main(words: Sequence[str], env: Mapping[str, str]) -> None:
    """Make what is missing, one after the other; what fails is said, and costs nothing but a slower start."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing half done stays
    say(f"archives of {' '.join(words)}")
    pids = {name: int(pid) for name, _, pid in (word.partition("=") for word in words)}
    for command, archive in missing(pids, env):
        with suppress(OSError):  # the disk is full
            once(command, archive, env)


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
