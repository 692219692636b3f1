"""
The state folder: what outlives `make down` (data, logs) and what does not (run, tmp, configuration, overrides).

    data/       what the engines and the pipeline keep, and shape.json: what it was made with
    logs/       one file a process, and supervisord's own
    config/     the engines' and the supervisor's configuration, written anew at each start
    run/        the supervisor's socket and pid, and the settings that the running system was started with
    tmp/        the temporary files of every process
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from dotenv import dotenv_values

from observability import lock
from observability.settings import OVERRIDES

LONGEST_SOCKET = 90  # bytes; macOS ends at 104, and supervisord binds to a temporary name with its pid first
PASSING = ("run", "tmp", "config")


@dataclass(frozen=True)
class Shape:
    """What the data was made with and cannot change under it: how many brokers, which document store."""

    brokers: int
    documents: str
    cluster: str  # Kafka's cluster id


@dataclass(frozen=True)
class State:
    """The paths below one state folder."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def socket(self) -> Path:
        """The supervisor's socket: in the folder, or in the system's temporary one when the path would be too long."""
        inside = self.run / "supervisor.sock"
        if len(str(inside).encode()) <= LONGEST_SOCKET:
            return inside
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir(), f"vigie-{digest}.sock")

    @property
    def supervisor_log(self) -> Path:
        return self.logs / "supervisord.log"

    def log(self, program: str) -> Path:
        return self.logs / f"{program}.log"

    def make(self) -> None:
        """Make the folders that are not there; only the user may look inside, whoever made the state folder."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.data, self.logs, self.config, self.run, self.tmp):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)

    def alone(self) -> AbstractContextManager[None]:
        """
        Keep other starts and stops of this state folder out meanwhile; the lock ends with this process.

        Raises:
            Held: another one is at work.
        """
        return lock.alone(self.root / "lock", f"another make up or make down is at work on {self.root}: wait for it")

    def shape(self) -> Shape | None:
        """What the data that is there was made with; None when there is no data yet."""
        file = self.data / "shape.json"
        return Shape(**json.loads(file.read_text())) if file.is_file() else None

    def keep_shape(self, shape: Shape) -> None:
        (self.data / "shape.json").write_text(json.dumps(asdict(shape)))

    def settings(self) -> dict[str, str]:
        """The settings that the running system was started with."""
        file = self.run / "settings.json"
        return dict(json.loads(file.read_text())) if file.is_file() else {}

    def keep_settings(self, own: Mapping[str, str], overrides: Mapping[str, str]) -> None:
        """Keep what the system is started with; `overrides` is what every other command reads back."""
        (self.run / "settings.json").write_text(json.dumps(own))
        quoted = {key: value.replace("\\", "\\\\").replace("'", "\\'") for key, value in overrides.items()}
        (self.root / OVERRIDES).write_text("".join(f"{key}='{value}'\n" for key, value in quoted.items()))

    def overrides(self) -> dict[str, str]:
        """What of the running system's settings differs from their file."""
        return {key: value or "" for key, value in dotenv_values(self.root / OVERRIDES).items()}

    def clear(self) -> None:
        """Remove what a stopped system needs no more; the data and the logs stay."""
        self.socket.unlink(missing_ok=True)
        (self.root / OVERRIDES).unlink(missing_ok=True)
        for name in PASSING:
            shutil.rmtree(self.root / name, ignore_errors=True)
