"""The Compose program, and what it makes of our files."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from engines import builds
from observability.settings import ROOT

Yaml = dict[str, Any]
WHOLE = ("docker-compose.yml",)
LIGHT = (*WHOLE, "docker-compose.light.yml")
OFFLINE = (*WHOLE, "docker-compose.offline.yml")
LIGHT_OFFLINE = (*OFFLINE, "docker-compose.light.yml", "docker-compose.light.offline.yml")
JOBS = {"secrets", "replica-set", "topics", "grants", "tables"}


def program() -> list[str]:
    """Docker's plugin, or the one that `make test` has built; empty when there is neither."""
    built = builds.named("compose") / "cmd"
    if built.is_file():
        return [str(built)]
    plugin = ["docker", "compose"]
    there = shutil.which("docker") and subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode
    return plugin if there == 0 else []


@pytest.fixture(scope="session")
def compose() -> Callable[..., Yaml]:
    """What `docker compose config` says of some files with some profiles; it must have nothing to complain of."""
    words = program()
    if not words:
        pytest.skip("no Docker Compose here: neither docker's plugin nor the one that `make test` builds")
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("VIGIE_", "SPARK_", "COMPOSE_"))}

    def config(files: tuple[str, ...] = WHOLE, profiles: tuple[str, ...] = (), **given: str) -> Yaml:
        options = [f"--file={file}" for file in files] + [f"--profile={profile}" for profile in profiles]
        command = [*words, *options, "config", "--format=json"]
        done = subprocess.run(
            command, cwd=ROOT, env=plain | given, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return dict(json.loads(done.stdout))

    return config
