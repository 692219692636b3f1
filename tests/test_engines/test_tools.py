"""A machine that lacks a tool is told so before anything is fetched."""

import os
from pathlib import Path

import pytest

from engines import builds, tools

FAKE_JAVA = """#!/bin/sh
echo "    java.home = {home}" >&2
echo "    java.specification.version = {version}" >&2
"""


def program(folder: Path, name: str, script: str) -> Path:
    """A fake of a tool: a script of this name."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(script)
    file.chmod(0o755)
    return file


def java(home: Path, version: str) -> str:
    """A fake Java installation; its JAVA_HOME."""
    program(home / "bin", "java", FAKE_JAVA.format(home=home, version=version))
    return str(home)


def old(machine: dict[str, str], version: str) -> dict[str, str]:
    """The machine with another Java on its PATH."""
    program(Path(machine["PATH"].split(":")[0]), "java", FAKE_JAVA.format(home="/old", version=version))
    return machine


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch):
    monkeypatch.setattr(tools, "PLACES", ())


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """A machine with Java 17, Maven and Go on its PATH and an empty cache."""
    path = tmp_path / "bin"
    program(path, "java", FAKE_JAVA.format(home="/jdk17", version="17"))
    program(path, "mvn", "#!/bin/sh\n")
    program(path, "go", '#!/bin/sh\nif [ "$2" = GOVERSION ]; then echo go1.26.8; else echo local; fi\n')
    return {"PATH": f"{path}:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_nothing_is_told_when_all_is_there(machine):
    assert tools.problems(machine) == []


def test_an_old_java_is_told_with_what_is_needed_and_where_to_get_it(machine):
    (sentence,) = tools.problems(old(machine, "11"))
    assert "Java 17 is needed" in sentence
    assert "the java here is 11 (/old)" in sentence
    assert "apt install openjdk-17" in sentence
    assert "brew install openjdk@17" in sentence


def test_a_java_that_does_not_run_counts_as_none(machine):
    program(Path(machine["PATH"].split(":")[0]), "java", "#!/bin/sh\nexit 1\n")
    assert "no java was found" in tools.problems(machine)[0]


def test_a_newer_java_gives_way_to_the_17_that_the_system_keeps(machine, tmp_path, monkeypatch):
    home = java(tmp_path / "jvm" / "java-17-openjdk", "17")
    monkeypatch.setattr(tools, "PLACES", (f"{tmp_path}/jvm/*17*",))
    assert tools.java(old(machine, "25")) == tools.Java(home, 17)


def test_java_home_wins_when_it_is_right(machine, tmp_path):
    home = java(tmp_path / "mine", "17")
    assert tools.java(machine | {"JAVA_HOME": home}) == tools.Java(home, 17)


def test_all_that_is_missing_is_told_at_once(machine, tmp_path):
    bare = machine | {"PATH": str(tmp_path / "empty")}
    assert [one.split()[0] for one in tools.problems(bare)] == ["Java", "mvn", "go"]


def test_a_go_that_is_too_old_and_may_not_fetch_a_newer_one_is_told(machine):
    path = Path(machine["PATH"].split(":")[0])
    program(path, "go", '#!/bin/sh\nif [ "$2" = GOVERSION ]; then echo go1.21.3; else echo local; fi\n')
    assert "go 1.21 is too old, 1.24 is needed" in tools.problems(machine)[0]
    program(path, "go", '#!/bin/sh\nif [ "$2" = GOVERSION ]; then echo go1.21.3; else echo auto; fi\n')
    assert tools.problems(machine) == []


def test_maven_and_go_are_not_asked_for_when_everything_is_built(machine):
    for build in builds.BUILDS:
        builds.folder(build, machine).mkdir(parents=True)
    path = Path(machine["PATH"].split(":")[0])
    (path / "mvn").unlink()
    (path / "go").unlink()
    assert tools.problems(machine) == []


@pytest.mark.parametrize("instead", ["mongod", "uri"])
def test_go_is_not_asked_for_when_there_is_another_document_store(machine, instead):
    path = Path(machine["PATH"].split(":")[0])
    (path / "go").unlink()
    if instead == "mongod":
        program(path, "mongod", "#!/bin/sh\n")
    assert tools.problems(machine | ({"VIGIE_MONGO_URI": "mongodb://there"} if instead == "uri" else {})) == []


def test_the_settings_are_read_without_a_library(monkeypatch, tmp_path):
    file = tmp_path / "settings"
    file.write_text("# a comment=1\nVIGIE_MONGO_URI=mongodb://a:b@c/?x=y\n\nVIGIE_SEED=\n")
    ours = tools.dotenv()
    monkeypatch.setitem(os.environ, "VIGIE_ENV_FILE", str(file))
    assert tools.dotenv() == ours | {"VIGIE_MONGO_URI": "mongodb://a:b@c/?x=y", "VIGIE_SEED": ""}
