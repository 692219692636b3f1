"""
Fetch and build the engines that the user's cache lacks, two at a time; a folder appears there only when it is whole.

The watchers' builds, which run beside a pipeline at work, come one by one and leave it the processors (`nice`).

    CannotFetch     Maven or Go failed, or took too long; the text has the end of what it said

`python -m engines.fetch` does it for all of them and nothing else.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from engines import builds, leftovers, tools
from engines.builds import CONTAINERS, DRILLS, GO, PIPELINE, WATCHERS, Build
from engines.console import say

AT_A_TIME = 2
LONGEST_S = 1800
NEWS_EVERY_S = 10
GENTLE = ("nice", "-n", "19")
COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class CannotFetch(Exception):
    """An engine could not be fetched or built; the text says which, and what to do."""


def missing(wanted: Iterable[Build]) -> list[Build]:
    """Those that the cache does not have yet."""
    return [build for build in wanted if not builds.folder(build).is_dir()]


def fetch(wanted: Iterable[Build], java_home: str) -> None:
    """
    Bring what is missing into the cache.

    Raises:
        CannotFetch: the first that failed; the others were let finish.
    """
    absent = missing(wanted)
    if not absent:
        return
    named = ", ".join(build.name for build in absent)
    say(f"fetching {named} into {builds.cache(os.environ)}: once, not at every start")
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        begun = [pool.submit(fetch_one, build, java_home) for build in absent]
        try:
            for done in begun:
                done.result()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            end(psutil.Process())
            raise


def fetch_one(build: Build, java_home: str) -> None:
    """
    Fetch or build one engine into a sibling of its folder, then give it its name.

    Raises:
        CannotFetch: it failed.
    """
    target = builds.folder(build)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    forget_interrupted(target)
    part.mkdir(parents=True)
    started = time.monotonic()
    try:
        run(build, command(build, part), java_home)
        size = sum(file.stat().st_size for file in part.rglob("*")) / 1e6
        if not target.is_dir():  # another fetch may have been quicker
            part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    say(f"  {build.name:<12} {time.monotonic() - started:4.0f} s  done, {size:.0f} MB")


def command(build: Build, into: Path) -> list[str]:
    """The tool's command line; `mvn` reads MAVEN_OPTS and the user's settings.xml, `go` its GO* variables."""
    manifests = builds.HERE / build.name
    if build.tool == GO:
        gentle = GENTLE if build in WATCHERS else ()
        options = ("-mod=readonly", "-trimpath", "-ldflags=-s -w", f"-tags={build.tags}", "-p=2")
        return [*gentle, "go", "build", "-C", str(manifests), *options, f"-o={into}/", *build.packages]
    return ["mvn", "-B", "-q", "-f", str(manifests / "pom.xml"), COPY_JARS, f"-DoutputDirectory={into}"]


def run(build: Build, command: list[str], java_home: str) -> None:
    """Run the tool to its end, with a line of news now and then."""
    env = {**os.environ, "JAVA_HOME": java_home}
    started = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, errors="replace"
    ) as process:
        while True:
            try:
                said, _ = process.communicate(timeout=NEWS_EVERY_S)
                break
            except KeyboardInterrupt:
                end(psutil.Process(process.pid))
                process.kill()
                raise
            except subprocess.TimeoutExpired:
                took = time.monotonic() - started
                if took > LONGEST_S:
                    process.kill()
                say(f"  {build.name:<12} {took:4.0f} s  {build.tool} is at work")
    if process.returncode:
        tail = "\n".join(f"    {line}" for line in said.strip().splitlines()[-25:])
        raise CannotFetch(
            f"{build.name}: {build.tool} failed ({process.returncode}):\n{tail}\n"
            f"  It needs the network once. Mend what it says (a proxy goes into ~/.m2/settings.xml for mvn, "
            f"GOPROXY for go), then the same command again; what is done already is kept."
        )


def end(process: psutil.Process) -> None:
    """Kill what a process has started: the tools, and the compilers that these would leave at work."""
    for one in process.children(recursive=True):
        leftovers.tell(one, kill=True)


def forget_interrupted(target: Path) -> None:
    """Remove what fetches that are no longer alive left half done."""
    for part in target.parent.glob(f".{target.name}.*.part"):
        pid = part.name.split(".")[-2]
        if not psutil.pid_exists(int(pid)):
            shutil.rmtree(part, ignore_errors=True)


def main() -> int:
    """Fetch everything that is missing."""
    argparse.ArgumentParser(prog="python -m engines.fetch", description=__doc__).parse_args()
    java = tools.java(os.environ)
    if java is None:
        say(tools.no_java(os.environ))
        return 1
    wanted = [build for build in PIPELINE if build.tool != GO or not tools.stored_elsewhere(os.environ)]
    wanted += DRILLS
    beside = (*WATCHERS, *CONTAINERS)
    try:
        fetch(wanted, java.home)
        for build in missing(beside):
            fetch_one(build, java.home)
    except CannotFetch as error:
        say(str(error))
        return 1
    for build in (*wanted, *beside):
        say(f"{build.name:<12} {builds.folder(build)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
