"""
Class-data sharing: what the start of a Java engine loads is kept parsed and verified, and later starts map it.

A JVM without an archive lists the classes that it loads. When users flow, `make up` has Java make an archive of each
list, once. One that Java does not take any more (another Java, other jars) does no harm and is removed: the next start
lists anew.
"""

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

KAFKA, CASSANDRA, SPARK = "kafka", "cassandra", "spark"
PROGRAMS = {KAFKA: "kafka-1", CASSANDRA: CASSANDRA, SPARK: SPARK}  # whose list it is made of
USE, LIST = "-XX:SharedArchiveFile=", "-XX:DumpLoadedClassList="
LONGEST_S = 300


def file(engine: str) -> Path:
    """Where an engine's archive is, or will be: beside its jars; PySpark's are in this environment."""
    return (Path(sys.prefix) if engine == SPARK else builds.named(engine)) / f"{engine}.jsa"


def shared(engine: str) -> tuple[str, ...]:
    """The option that maps the engine's archive; none if there is none."""
    return (f"{USE}{file(engine)}",) if file(engine).is_file() else ()


def shared_or_listed(engine: str, program: str, state: State) -> tuple[str, ...]:
    """The option of a start: to map the archive, or to list what it would have."""
    return shared(engine) or (f"{LIST}{state.tmp / program}.classes",)


def make(pids: Mapping[str, int], state: State, env: Mapping[str, str]) -> None:
    """Make the archives that are missing, of what the programs of these pids have listed; what fails is only said."""
    for engine, program in PROGRAMS.items():
        archive = file(engine)
        with suppress(psutil.Error):  # it has ended meanwhile
            for one in javas(pids.get(program, 0)):
                words = one.cmdline()
                if f"{USE}{archive}" in words and not maps(one.pid, archive):
                    archive.unlink(missing_ok=True)
                if any(word.startswith(LIST) for word in words) and os.access(archive.parent, os.W_OK):
                    once(words, archive, state, env)


def once(command: Sequence[str], archive: Path, state: State, env: Mapping[str, str]) -> None:
    """`dump`, unless the archive is there, or another start is making it: it may be of several systems."""
    with suppress(lock.Held), lock.alone(archive.with_name(f".{archive.name}.lock"), "another start makes it"):
        if not archive.exists():
            say(f"  making an archive of {archive.stem}'s classes: once, for quicker starts")
            dump(command, archive, state, env)


def javas(pid: int) -> Iterator[psutil.Process]:
    """The process of this pid, or what it has started, that was given an archive or a list; none for 0."""
    if pid:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            if any(word.startswith((USE, LIST)) for word in one.cmdline()):
                yield one


def maps(pid: int, archive: Path) -> bool:
    """Whether a process has the archive in its memory; where no such table is, it is taken to have."""
    table = Path(f"/proc/{pid}/maps")
    return not table.exists() or str(archive) in table.read_text()


def dump(command: Sequence[str], archive: Path, state: State, env: Mapping[str, str]) -> None:
    """
    Have the Java of this command line make an archive of the classes that it has listed so far.

    The archive appears when it is whole. What fails is said, and nothing is left of it.
    """
    began, part = time.monotonic(), archive.with_name(f".{archive.name}.part")
    listed = Path(next(word.removeprefix(LIST) for word in command if word.startswith(LIST)))
    whole = listed.with_suffix(".whole")
    options = (f"-XX:SharedClassListFile={whole}", f"{USE}{part}", *jvm.lean(state))
    try:
        whole.write_bytes(listed.read_bytes().rpartition(b"\n")[0] + b"\n")  # it may be in the middle of a line
        subprocess.run(
            [*GENTLE, command[0], "-Xshare:dump", *options, "-cp", command[command.index("-cp") + 1]],
            env=dict(env),
            capture_output=True,
            timeout=LONGEST_S,
            check=True,
        )
        part.rename(archive)
        say(f"  {archive.stem:<12} {time.monotonic() - began:4.0f} s  done, {archive.stat().st_size / 1e6:.0f} MB")
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or b"")[-500:].decode(errors="replace")
        say(f"  {archive.stem}: no archive, so its starts stay as slow as they are: {error} {said}")
    finally:
        part.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)
