"""
The system that is drilled: its settings, its programs, where it is asked, and what one drill has learned of it.

The actions and probes of an experiment find it in Chaos Toolkit's `configuration`; run by another program than ours
they make it from the environment.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from chaos import programs
from chaos.evidence import Evidence
from chaos.evidence import Settings as OfEvidence
from chaos.watch import Watch
from engines.state import State
from observability import settings

KEY = "vigie"  # in Chaos Toolkit's configuration


@dataclass(frozen=True)
class Settings(OfEvidence):
    """Where the system is asked and broken."""

    host: str
    prometheus: str = field(metadata={"key": "VIGIE_PROMETHEUS_URL"})
    alertmanager: str = field(metadata={"key": "VIGIE_ALERTMANAGER_URL"})
    dashboard: str = field(metadata={"key": "VIGIE_DASHBOARD_URL"})
    grafana: str = field(metadata={"key": "VIGIE_GRAFANA_URL"})
    compose_project: str
    outbox_max_mb: int


@dataclass
class Target:
    """One system under a drill, while it lasts."""

    env: Mapping[str, str]
    settings: Settings
    programs: programs.Programs
    watch: Watch | None = None
    patience_s: float = 120.0  # until the promise must hold again
    broken: bool = True  # the method has begun; until then a rollback has nothing to put back
    again_at: float = 0.0  # when the promise held again (Unix time)
    followed: bool = False  # by another drill, whose comparison has the minute in which this one ends, and reads all
    stopped: Event = field(default_factory=Event)  # what takes its time ends now
    owed: dict[str, Callable[[], object]] = field(default_factory=dict)  # what a rollback must mend first
    evidence: list[Evidence] = field(default_factory=list)  # each time the users were compared, oldest first

    @property
    def state(self) -> State:
        return State(self.settings.state)


def made(outer: Mapping[str, str] | None = None) -> Target:
    """
    The system that the settings name.

    Raises:
        WrongSetting: one is missing or wrong.
    """
    env = settings.environ(outer)
    wanted = settings.read(Settings, env)
    return Target(env, wanted, programs.of(State(wanted.state), wanted.compose_project))


def of(configuration: Mapping[str, Any] | None) -> Target:
    """The target of this experiment."""
    there = (configuration or {}).get(KEY)
    return there if isinstance(there, Target) else made()
