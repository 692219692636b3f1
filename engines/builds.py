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
    """
    An engine and its manifests: files of `engines/<name>/` that decide what is fetched.

    A Go build makes a program of each of its packages, named as the package's last part.
    """

    name: str
    tool: str
    manifests: tuple[str, ...]
    packages: tuple[str, ...] = (".",)
    tags: str = ""


MODULE = ("go.mod", "go.sum")
PIPELINE = (
    Build("documents", GO, ("main.go", *MODULE)),  # the longest first
    Build("cassandra", MAVEN, ("pom.xml",)),
    Build("kafka", MAVEN, ("pom.xml",)),
    Build("spark", MAVEN, ("pom.xml",)),
)
# Minutes each, so they are built beside a pipeline that runs; the quickest first.
WATCHERS = (
    Build("alertmanager", GO, MODULE, ("github.com/prometheus/alertmanager/cmd/alertmanager",)),
    Build("jaeger", GO, MODULE, ("github.com/jaegertracing/jaeger/cmd/jaeger",)),
    Build(
        "prometheus",
        GO,
        MODULE,
        ("github.com/prometheus/prometheus/cmd/prometheus", "github.com/prometheus/prometheus/cmd/promtool"),
        tags="remove_all_sd,enable_file_sd",  # without the clients of thirty clouds
    ),
)
DRILLS = (Build("toxiproxy", GO, MODULE, ("github.com/Shopify/toxiproxy/v2/cmd/server",)),)  # only with VIGIE_WIRES
# What only containers need: `make test-compose`, and the tests of docker-compose.yml where no Compose is installed.
CONTAINERS = (Build("compose", GO, MODULE, ("github.com/docker/compose/v2/cmd",)),)
BUILDS = (*PIPELINE, *WATCHERS, *DRILLS, *CONTAINERS)


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
