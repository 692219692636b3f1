"""
What must be on the machine before anything is fetched: a Java that every engine runs on, Maven, Go.

`python3 -m engines.tools` says all that is missing at once, and how to mend it; exit code 1. Standard library only: it
runs by the system's Python, before the environment exists. Maven and Go are asked for only when there is still
something to fetch or to build with them for the pipeline; what the watchers lack, their own build tells.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engines import builds

JAVA = 17  # Cassandra 5.0 runs on 11 and 17, Kafka 4 and Spark 4 from 17 up
GO_DEFAULT = (1, 21)  # the first that can fetch a newer toolchain by itself
PLACES = (
    "/usr/lib/jvm/*17*",
    "/Library/Java/JavaVirtualMachines/*17*/Contents/Home",
    "/opt/homebrew/opt/openjdk@17",
    "/usr/local/opt/openjdk@17",
    "~/.sdkman/candidates/java/17*",
)
GET_JAVA = "Debian: apt install openjdk-17-jre-headless; macOS: brew install openjdk@17"
GET_MAVEN = "Debian: apt install maven; macOS: brew install maven"
GET_GO = "Debian and macOS: https://go.dev/dl (macOS also: brew install go)"


@dataclass(frozen=True)
class Java:
    """A Java installation: its JAVA_HOME and its major version."""

    home: str
    major: int


def problems(environ: Mapping[str, str]) -> list[str]:
    """Every tool that is missing or of the wrong version, a sentence each; empty when the engines can be had."""
    wanted = {build.tool for build in builds.PIPELINE if not builds.folder(build, environ).is_dir()}
    if stored_elsewhere(environ):
        wanted.discard(builds.GO)
    found = [] if java(environ) else [no_java(environ)]
    if builds.MAVEN in wanted and not shutil.which("mvn", path=environ.get("PATH")):
        found.append(f"mvn is not on the PATH: it fetches Kafka, Cassandra and Spark's Kafka source. {GET_MAVEN}")
    if builds.GO in wanted:
        found.extend(go_problems(environ))
    return found


def stored_elsewhere(environ: Mapping[str, str]) -> bool:
    """Whether a `mongod` on the PATH or a given URI makes the embedded document store unneeded."""
    return bool(environ.get("VIGIE_MONGO_URI")) or shutil.which("mongod", path=environ.get("PATH")) is not None


def java(environ: Mapping[str, str]) -> Java | None:
    """The first Java of the right version: JAVA_HOME's, the PATH's, or one where systems keep them."""
    return next((one for one in javas(environ) if one.major == JAVA), None)


def javas(environ: Mapping[str, str]) -> Iterator[Java]:
    """Every Java that can be found, the one that the user chose first."""
    if home := environ.get("JAVA_HOME"):
        yield from asked(f"{home}/bin/java", environ)
    if on_path := shutil.which("java", path=environ.get("PATH")):
        yield from asked(on_path, environ)
    for place in PLACES:
        base, pattern = place.split("/", 1)
        for found in sorted(Path(base or "/").expanduser().glob(pattern)):
            yield from asked(f"{found}/bin/java", environ)


def asked(program: str, environ: Mapping[str, str]) -> Iterator[Java]:
    """What this `java` says of itself; nothing when it does not run (macOS has one that only says where to get one)."""
    command = [program, "-XX:-UsePerfData", "-XshowSettings:properties", "-version"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, env=dict(environ), check=True)
    except (OSError, subprocess.SubprocessError):
        return
    home = re.search(r"java\.home = (.+)", answer.stderr)
    version = re.search(r"java\.specification\.version = (?:1\.)?(\d+)", answer.stderr)
    if home and version:
        yield Java(home[1].strip(), int(version[1]))


def no_java(environ: Mapping[str, str]) -> str:
    """The sentence for a machine without the right Java: what there is, and what to do."""
    first = next(javas(environ), None)
    there = f"the java here is {first.major} ({first.home})" if first else "no java was found"
    return f"Java {JAVA} is needed (Cassandra 5.0 runs on no newer one); {there}. {GET_JAVA}; or set JAVA_HOME"


def go_problems(environ: Mapping[str, str]) -> list[str]:
    """Why the document store could not be built with the Go that is here; empty when it can."""
    what = "it builds the document store (or have a mongod on the PATH, or set VIGIE_MONGO_URI)"
    program = shutil.which("go", path=environ.get("PATH"))
    if program is None:
        return [f"go is not on the PATH: {what}. {GET_GO}"]
    answers = [
        subprocess.run([program, *words], capture_output=True, text=True, timeout=30, env=dict(environ), check=False)
        for words in (("env", "GOVERSION"), ("env", "GOTOOLCHAIN"))
    ]
    there = version(answers[0].stdout)
    needed = version((builds.HERE / "documents" / "go.mod").read_text().partition("\ngo ")[2])
    may_fetch = there >= GO_DEFAULT and not answers[1].stdout.startswith("local")
    if there >= needed or may_fetch:
        return []
    return [f"go {dotted(there)} is too old, {dotted(needed)} is needed: {what}. {GET_GO}"]


def version(text: str) -> tuple[int, int]:
    """The first `major.minor` in the text; (0, 0) when there is none."""
    found = re.search(r"(\d+)\.(\d+)", text.splitlines()[0] if text else "")
    return (int(found[1]), int(found[2])) if found else (0, 0)


def dotted(version: tuple[int, int]) -> str:
    """(1, 24) as 1.24."""
    return f"{version[0]}.{version[1]}"


def main() -> int:
    """Say what is missing; 0 when nothing is."""
    found = problems({**dotenv(), **os.environ})
    if found:
        sys.stderr.write("Vigie cannot start yet:\n" + "".join(f"  - {problem}\n" for problem in found))
    return 1 if found else 0


def dotenv() -> dict[str, str]:
    """The settings of `.env`, and over them those of VIGIE_ENV_FILE, as far as they matter here: KEY=value lines."""
    ours = builds.HERE.parent / ".env"
    own = Path(os.environ.get("VIGIE_ENV_FILE", ours))
    lines = [line for file in (ours, own) if file.is_file() for line in file.read_text().splitlines()]
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return {key: value for key, equals, value in pairs if equals}


if __name__ == "__main__":
    sys.exit(main())
