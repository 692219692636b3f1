"""Archives of classes: a real Java makes them of what it listed, maps them at its next start, and they fit no other."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from engines import archives, brokers, builds, tools
from observability import lock

SHARED = "source: shared objects file"
TOOL = "kafka.tools.StorageTool"
KAFKA_1 = archives.PROGRAMS[archives.KAFKA]


@pytest.fixture
def own_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(archives, "folder", lambda engine: tmp_path / engine)
    (tmp_path / archives.KAFKA).mkdir()
    return tmp_path / archives.KAFKA


@pytest.fixture
def java(env) -> str:
    found = tools.java(env)
    assert found is not None
    return found.home


@contextmanager
def sleeping(*words: str) -> Iterator[psutil.Popen]:
    process = psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)", *words])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def left(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if not one.name.endswith(".lock"))


@pytest.mark.engines
def test_java_maps_what_it_listed(own_folder, state, env, java):
    archive = archives.file(archives.KAFKA, java)
    another, old = own_folder / "kafka-of_another.jsa", own_folder / "kafka-of_old.jsa"
    for one in (another, old, own_folder / ".kafka-killed.jsa.part"):
        one.touch()
    os.utime(old, (1, 1))

    def command(*options: str) -> list[str]:
        return [f"{java}/bin/java", *options, "-cp", brokers.classpath(), TOOL, "random-uuid"]

    def make() -> None:
        archives.once(listing, archive, env)

    listing = command(*archives.shared_or_listed(archive, KAFKA_1, state))
    subprocess.run(listing, check=True, timeout=60, stdout=subprocess.DEVNULL)
    with lock.alone(own_folder / ".kafka.jsa.lock", "a start that is making it"):
        make()
    assert not archive.exists()
    make()

    mapping = command(*archives.shared_or_listed(archive, KAFKA_1, state), "-Xlog:class+load")
    loaded = subprocess.run(mapping, check=True, timeout=60, capture_output=True, text=True).stdout
    assert [line for line in loaded.splitlines() if TOOL in line and SHARED in line]
    assert left(own_folder) == sorted([archive.name, another.name])
    assert not list(state.tmp.glob("*.whole"))


@pytest.mark.engines
@pytest.mark.parametrize("listed", ["no class at all;\n", None])
def test_what_java_cannot_make_an_archive_of_is_said_and_leaves_nothing(own_folder, state, env, java, capsys, listed):
    file = state.tmp / "kafka-1.classes"
    if listed is not None:
        file.write_text(listed)
    command = [f"{java}/bin/java", f"{archives.LIST}{file}", "-cp", "/no"]
    archives.once(command, own_folder / "kafka-0123.jsa", env)
    assert "kafka-0123: no archive" in capsys.readouterr().out
    assert left(own_folder) == []


def test_an_archive_is_of_one_java_and_of_the_jars_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(builds, "named", lambda name: tmp_path)
    jar, home = tmp_path / "a.jar", tmp_path / "java"
    jar.write_bytes(b"one")
    home.mkdir()
    found = [archives.file(archives.KAFKA, str(home))]
    (home / "release").write_text('JAVA_VERSION="17.0.16"')
    found.append(archives.file(archives.KAFKA, str(home)))
    os.utime(jar, (1, 1))
    found.append(archives.file(archives.KAFKA, str(home)))
    shutil.copy2(jar, tmp_path / "b.jar")
    found.append(archives.file(archives.KAFKA, str(home)))
    (home / "lib").mkdir()
    (home / "lib" / "modules").touch()
    found.append(archives.file(archives.KAFKA, str(home)))
    assert len(set(found)) == 5
    assert found[-1] == archives.file(archives.KAFKA, str(home))


def test_sparks_archive_is_also_of_the_jars_for_kafka(tmp_path):
    env = {"VIGIE_SPARK_JARS": str(tmp_path)}
    before = archives.file(archives.SPARK, "/no/java", *archives.besides(archives.SPARK, env))
    (tmp_path / "connector.jar").touch()
    assert archives.file(archives.SPARK, "/no/java", *archives.besides(archives.SPARK, env)) != before
    assert archives.besides(archives.KAFKA, env) == ()


def test_none_is_made_without_room(own_folder, env, monkeypatch):
    monkeypatch.setattr(archives, "FREE", 2**60)
    archives.once(["/no/java"], own_folder / "kafka-0123.jsa", env)
    assert list(own_folder.iterdir()) == []


def test_nothing_is_begun_where_nobody_lists(state, env):
    assert not archives.begin({KAFKA_1: os.getpid(), "kafka-2": 0}, state, env)
    assert not state.log(archives.LOG).exists()


def test_only_one_broker_lists_its_classes(state):
    archive = Path("/no/such/kafka-0123.jsa")
    assert archives.shared_or_listed(archive, KAFKA_1, state) == (f"{archives.LIST}{state.tmp}/kafka-1.classes",)
    assert archives.shared_or_listed(archive, "kafka-2", state) == ()


def test_sparks_driver_has_one_where_java_would_take_it(state, tmp_path):
    def options(**env: str) -> str:
        whole = {"SPARK_MASTER": "local[2]", "VIGIE_SPARK_JARS": str(tmp_path)} | env
        return archives.of_spark(whole, state, "/no/java")

    assert options().startswith(' "-XX:')
    assert options(SPARK_SUBMIT_OPTS="-Dmine=1").startswith('-Dmine=1 "-XX:')
    assert options(SPARK_MASTER="spark://there:7077", SPARK_SUBMIT_OPTS="-Dmine=1") == "-Dmine=1"
    assert options(SPARK_CONF_DIR="/etc/spark") == ""


def test_whoever_lists_below_a_program_is_found(state):
    with sleeping(f"{archives.LIST}/there", "-cp", "/jars/*") as process:
        (words,) = archives.listing(os.getpid())
        assert words == process.cmdline()
        assert list(archives.listing(process.pid)) == [words]
    assert list(archives.listing(0)) == []
