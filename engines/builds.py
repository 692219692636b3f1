"""
The engines that are fetched or built, and the folder of the user's cache where each is found once it is whole.

The folder's name carries a hash of the engine's manifests, so that a fresh clone does not build again and a changed
version does. Standard library only: the check before the environment exists reads this too.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
MAVEN, GO = "mvn", "go"


@dataclass(frozen=True)
class Build:
    """An engine and its manifests: files of `engines/<name>/` that decide what is fetched."""

    name: str
    tool: str
    manifests: tuple[str, ...]


BUILDS = (
    Build("documents", GO, ("main.go", "go.mod", "go.sum")),  # the longest first
    Build("cassandra", MAVEN, ("pom.xml",)),
    Build("kafka", MAVEN, ("pom.xml",)),
    Build("spark", MAVEN, ("pom.xml",)),
)


def cache(environ: Mapping[str, str]) -> Path:
    """The user's cache folder of Vigie; it may not exist."""
    base = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "vigie")


def folder(build: Build, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the built engine is, or will be: `<cache>/<name>-<12 hex digits of its manifests>`."""
    digest = hashlib.sha256()
    for name in build.manifests:
        digest.update((HERE / build.name / name).read_bytes())
    return cache(environ) / f"{build.name}-{digest.hexdigest()[:12]}"


def named(name: str) -> Path:
    """The folder of the build of this name."""
    return folder(next(build for build in BUILDS if build.name == name))
