"""Archives of classes: made by a real Java of what it listed, mapped by its next start, removed when that refuses."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from engines import archives, brokers, tools
from observability import lock

SHARED = "source: shared objects file"
TOOL = "kafka.tools.StorageTool"


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "file", lambda engine: tmp_path / f"{engine}.jsa")
    return tmp_path / "kafka.jsa"


@contextmanager
def sleeping(*words: str) -> Iterator[psutil.Popen]:
    process = psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)", *words])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.engines
def test_java_maps_what_it_listed(archive, state, env):
    java = tools.java(env)
    assert java is not None

    def command(*options: str) -> list[str]:
        return [f"{java.home}/bin/java", *options, "-cp", brokers.classpath(), TOOL, "random-uuid"]

    (option,) = archives.shared_or_listed(archives.KAFKA, "kafka-1", state)
    listing = command(option)
    subprocess.run(listing, check=True, timeout=60, stdout=subprocess.DEVNULL)
    with lock.alone(archive.with_name(f".{archive.name}.lock"), "a start that is making it"):
        archives.once(listing, archive, state, env)
    assert not archive.exists()
    archives.once(listing, archive, state, env)

    (option,) = archives.shared_or_listed(archives.KAFKA, "kafka-1", state)
    mapping = command(option, "-Xlog:class+load")
    loaded = subprocess.run(mapping, check=True, timeout=60, capture_output=True, text=True).stdout
    assert [line for line in loaded.splitlines() if TOOL in line and SHARED in line]
    assert not list(archive.parent.glob("*.part"))
    assert not list(state.tmp.glob("*.whole"))


@pytest.mark.engines
def test_what_java_cannot_make_an_archive_of_is_said_and_leaves_nothing(archive, state, env, capsys):
    java = tools.java(env)
    assert java is not None
    (state.tmp / "kafka-1.classes").write_text("no class at all;\n")
    archives.dump(
        [f"{java.home}/bin/java", f"{archives.LIST}{state.tmp}/kafka-1.classes", "-cp", "/no"], archive, state, env
    )
    archives.dump([f"{java.home}/bin/java", f"{archives.LIST}{state.tmp}/none", "-cp", "/no"], archive, state, env)
    said = capsys.readouterr().out
    assert said.count("kafka: no archive") == 2, said
    assert not archive.exists()
    assert not list(archive.parent.glob("*.part"))


def test_an_archive_that_is_not_mapped_is_removed(archive, state, env):
    archive.write_bytes(b"of another Java")
    with sleeping(*archives.shared(archives.KAFKA)) as process:
        archives.make({"kafka-1": process.pid}, state, env)
    assert not archive.exists()


def test_one_that_is_mapped_stays(archive, state, env, monkeypatch):
    archive.write_bytes(b"of this Java")
    with sleeping(*archives.shared(archives.KAFKA)) as process:
        monkeypatch.setattr(archives, "maps", lambda pid, file: (pid, file) == (process.pid, archive))
        archives.make({"kafka-1": process.pid}, state, env)
    assert archive.exists()


def test_a_process_maps_what_is_in_its_memory_table():
    assert archives.maps(os.getpid(), os.path.realpath(sys.executable))
    assert not archives.maps(os.getpid(), "/no/such/archive")
