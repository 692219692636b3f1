"""A fetch leaves a whole engine or none, and says why when it is none."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from engines import builds, fetch
from engines.builds import BUILDS, Build
from engines.fetch import CannotFetch

SPARK = next(build for build in BUILDS if build.name == "spark")
PROMETHEUS = next(build for build in BUILDS if build.name == "prometheus")
WORKING = """#!/bin/sh
for word in "$@"; do case "$word" in -DoutputDirectory=*) echo x > "${word#-DoutputDirectory=}/one.jar";; esac; done
echo "$JAVA_HOME" > "$(dirname "$0")/java_home"
"""
GO = """#!/bin/sh
for word in "$@"; do case "$word" in
    -o=*) into="${word#-o=}";; github.com/*) echo "$@" > "$into${word##*/}";;
esac; done
"""
SLOW = "#!/bin/sh\nsleep 100 & sleep 100\n"
BROKEN = "#!/bin/sh\necho 'Could not transfer artifact: connection refused'; exit 1\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch) -> Path:
    """An empty cache, and a PATH whose `mvn` is ours."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setitem(os.environ, "PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def maven(machine: Path, script: str, name: str = "mvn") -> None:
    (machine / "bin" / name).write_text(script)
    (machine / "bin" / name).chmod(0o755)


def cached() -> list[str]:
    return sorted(one.name for one in builds.cache(os.environ).iterdir())


def test_an_engine_is_fetched_once_with_the_chosen_java(machine: Path, capsys):
    maven(machine, WORKING)
    fetch.fetch([SPARK], "/java17")
    assert cached() == [builds.folder(SPARK).name]
    assert [jar.name for jar in builds.folder(SPARK).iterdir()] == ["one.jar"]
    assert (machine / "bin" / "java_home").read_text() == "/java17\n"
    assert "spark" in capsys.readouterr().out
    maven(machine, BROKEN)
    fetch.fetch([SPARK], "/java17")
    assert capsys.readouterr().out == ""


def test_one_build_of_go_makes_each_of_its_programs(machine: Path):
    maven(machine, GO, "go")
    fetch.fetch_one(PROMETHEUS, "/java17")
    made = builds.folder(PROMETHEUS)
    assert sorted(one.name for one in made.iterdir()) == ["prometheus", "promtool"]
    assert "-mod=readonly" in (made / "promtool").read_text()
    assert "-tags=remove_all_sd,enable_file_sd" in (made / "promtool").read_text()


def test_a_fetch_that_fails_leaves_nothing_and_says_what_maven_said(machine: Path):
    maven(machine, BROKEN)
    with pytest.raises(CannotFetch, match=r"spark: mvn failed \(1\):\n    Could not transfer artifact"):
        fetch.fetch([SPARK], "/java17")
    assert cached() == []


@pytest.mark.parametrize("how", ["fetch.fetch([build], '/java17')", "fetch.fetch_one(build, '/java17')"])
def test_who_is_interrupted_leaves_no_tool_at_work(machine: Path, how: str):
    """`make up` ended while it builds, by whatever ends it."""
    maven(machine, SLOW, "go")
    program = (
        "import signal; from engines import builds, fetch; signal.signal(signal.SIGTERM, signal.default_int_handler); "
        f"build = next(build for build in builds.BUILDS if build.name == 'prometheus'); {how}"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    try:
        by = time.monotonic() + 20
        while not (tools := psutil.Process(process.pid).children(recursive=True)[1:]) and time.monotonic() < by:
            time.sleep(0.05)
        assert tools  # the tool's own child
        process.terminate()
        assert process.wait(20)
        assert [one for one in tools if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
        assert cached() == []
    finally:
        process.kill()


def test_what_an_interrupted_fetch_left_is_removed(machine: Path):
    maven(machine, WORKING)
    target = builds.folder(SPARK)
    left = target.with_name(f".{target.name}.999999999.part")
    left.mkdir(parents=True)
    fetch.fetch([SPARK], "/java17")
    assert cached() == [target.name]


def test_another_version_in_the_manifest_is_another_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(builds, "HERE", tmp_path)
    (tmp_path / "a").mkdir()
    build, names = Build("a", "mvn", ("pom.xml",)), set()
    for version in ("1", "2", "1"):
        (tmp_path / "a" / "pom.xml").write_text(version)
        names.add(builds.folder(build, {"XDG_CACHE_HOME": "/c"}))
    assert len(names) == 2
    assert all(len(name.name) == len("a-") + 12 for name in names)
