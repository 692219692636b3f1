"""
The experiments: Chaos Toolkit's JSON, in `chaos/experiments/`, each with what `make drill` adds to it.

A file says what is broken (`method`), and in its extension `vigie` which alert belongs to it. What is the same for all
is added when it is read: the steady state before and after, the wait for the promise at the end, and the rollback.
"""

import copy
import json
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from chaoslib.exceptions import ChaosException
from chaoslib.experiment import ensure_experiment_is_valid

from chaos.bounds import Bounds
from chaos.target import KEY
from engines.config import Config
from observability import settings
from services import evidence

FOLDER = Path(__file__).resolve().parent / "experiments"
LINUX = "Linux"
SOURCE = {"source", "source_in_turn", "pages_again", "large_record"}

Json = dict[str, Any]


class WrongExperiment(Exception):
    """An experiment's file is not one, or there is none of that name; the text says why."""


@dataclass(frozen=True)
class Drill:
    """One experiment, ready to run."""

    name: str
    number: int
    bounds: Bounds
    experiment: Json

    @property
    def title(self) -> str:
        return str(self.experiment["title"])

    @property
    def method(self) -> list[Json]:
        """What is broken, without what was added."""
        return [activity for activity in self.experiment["method"] if activity["type"] == "action"]


def python(kind: str, name: str, module: str, func: str, **arguments: Any) -> Json:
    """One activity, as Chaos Toolkit writes it."""
    provider = {"type": "python", "module": module, "func": func, "arguments": arguments}
    return {"type": kind, "name": name, "provider": provider}


def probe(name: str, func: str) -> Json:
    return python("probe", name, "chaos.probes", func) | {"tolerance": "ok"}


STEADY: Json = {
    "title": "everything runs, the promise holds, and every user is where they must be, once",
    "probes": [
        probe("everything runs", "everything_runs"),
        probe("the promise holds", "promise_held"),
        probe("users agree", "users_agree"),
    ],
}
AGAIN = python("probe", "the promise holds again", "chaos.probes", "promise_again")
RESTORE = python("action", "everything as it was", "chaos.faults", "restore")


def read(file: Path) -> Drill:
    """
    Read one experiment and complete it.

    Raises:
        WrongExperiment: it is no experiment, or its extension is not ours.
    """
    try:
        written = json.loads(file.read_text())
        (own,) = [one for one in written["extensions"] if one["name"] == KEY]
        bounds = msgspec.convert({k: v for k, v in own.items() if k not in ("name", "number")}, Bounds)
        return made(file.stem, own.get("number", 0), bounds, written)
    except (OSError, ValueError, KeyError, TypeError, msgspec.ValidationError, ChaosException) as error:
        raise WrongExperiment(f"{file}: {type(error).__name__}: {error}") from error


def made(name: str, number: int, bounds: Bounds, written: Json) -> Drill:
    """Complete an experiment, and let Chaos Toolkit look at it."""
    whole = copy.deepcopy(written) | {"configuration": written.get("configuration", {}) | {KEY: ""}}
    whole.setdefault("steady-state-hypothesis", copy.deepcopy(STEADY))
    whole["method"] = [*whole["method"], copy.deepcopy(AGAIN)]
    whole["rollbacks"] = [*whole.get("rollbacks", []), copy.deepcopy(RESTORE)]
    ensure_experiment_is_valid(whole)
    return Drill(name, number, bounds, whole)


def everything(folder: Path = FOLDER) -> Iterator[Drill]:
    """Every drill, by its number."""
    yield from sorted((read(file) for file in folder.glob("*.json")), key=lambda drill: (drill.number, drill.name))


def in_turn(drills: Sequence[Drill]) -> list[Drill]:
    """
    The order for all of them: those whose alert is long in falling silent evenly spread, as the next that waits for the
    same one could not start; those that blind the watchers last.
    """
    alike: dict[tuple[str, ...], list[Drill]] = defaultdict(list)
    for one in sorted(drills, key=lambda drill: drill.number):
        if not one.bounds.silence:
            alike[() if one.bounds.clear_s else one.bounds.expect].append(one)
    places = [((n + 0.5) / len(group), one.number, one) for group in alike.values() for n, one in enumerate(group)]
    blind = [one for one in drills if one.bounds.silence]
    return [one for *_, one in sorted(places, key=lambda place: place[:2])] + blind


def named(names: Sequence[str], folder: Path = FOLDER) -> list[Drill]:
    """
    The drills of these names, in that order.

    Raises:
        WrongExperiment: there is none of that name.
    """
    for name in names:
        if not (folder / f"{name}.json").is_file():
            raise WrongExperiment(f"{name}: no such drill; make drill lists them")
    return [read(folder / f"{name}.json") for name in names]


def lacks(drill: Drill, env: Mapping[str, str]) -> str:
    """
    What a drill needs and the system was not started with: a setting, LINUX, or a part that is ours to break.

    Nothing is broken that other addresses name: it may be somebody else's.
    """
    asked = {one["provider"]["func"]: one["provider"].get("arguments", {}) for one in drill.method}
    out_of_reach = past_containers if env["VIGIE_COMPOSE_PROJECT"] else theirs
    if far := out_of_reach(asked.keys(), json.dumps(drill.method), env):
        return far
    if asked.keys() & {"fill_disk", "shift_clock"} and sys.platform != "linux":
        return LINUX
    if asked.keys() & {"slow", "shake", "part"} and env["VIGIE_WIRES"] == "0":
        return "VIGIE_WIRES=1"
    if "shift_clock" in asked and asked["shift_clock"]["program"] not in env["VIGIE_CLOCKS"].split(","):
        return f"VIGIE_CLOCKS={asked['shift_clock']['program']}"
    if "lose_sums" in asked and env["VIGIE_USERS_RETENTION_DAYS"] != "0":
        return "VIGIE_USERS_RETENTION_DAYS=0 (sums of users that are not stored any more cannot be rebuilt)"
    brokers = max((int(n) for n in re.findall(r"kafka-(\d+)", json.dumps(drill.method))), default=0)
    return f"VIGIE_BROKERS={brokers}" if brokers > int(env["VIGIE_BROKERS"]) else ""


HERE = ("", "localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104 no other container finds any of these
WIRES = "toxiproxy"
# What needs no more than the programs' keeper, the source's orders, and Kafka.
FROM_OUTSIDE = {"hold", "kill", "strike", "stop", "start", "freeze", "thaw", "poison", *SOURCE}


def past_containers(funcs: Collection[str], method: str, env: Mapping[str, str]) -> str:
    """What a drill needs that containers do not give."""
    if {*funcs} - FROM_OUTSIDE:
        return "make up (it reaches into a program)"
    ours = settings.read(evidence.Settings, env).of_simulator
    if not ours and (SOURCE & {*funcs} or '"simulator"' in method):
        return "the simulator as source"
    if ours and env["VIGIE_SIMULATOR_ADMIN_HOST"] in HERE:  # each verdict asks it whom it has served
        return "VIGIE_SIMULATOR_ADMIN_HOST=simulator"
    stores = (("documents", "VIGIE_MONGO_URI", "mongo"), ("cassandra", "VIGIE_CASSANDRA_HOSTS", "cassandra"))
    foreign = [key for name, key, own in stores if f'"{name}"' in method and not {own, WIRES} & words(env[key])]
    return f"{foreign[0]} without another address" if foreign else ""


def words(address: str) -> set[str]:
    return set(re.split(r"[/:,?]", address))


def theirs(funcs: Collection[str], method: str, env: Mapping[str, str]) -> str:
    """The parts that a method breaks and that are somebody else's."""
    config = settings.read(Config, env)
    whole = "kill_everything" in funcs
    parts = {
        "Kafka": config.own_kafka or not ("kafka-" in method or "poison" in funcs or whole),
        "Cassandra": config.own_cassandra or not ('"cassandra"' in method or "lose_sums" in funcs or whole),
        "MongoDB": config.own_documents or not ('"documents"' in method or whole),
        "the simulator as source": config.own_source or not ('"simulator"' in method or SOURCE & {*funcs}),
    }
    foreign = ", ".join(part for part, ours in parts.items() if not ours)
    return foreign and f"{foreign} of its own (other addresses are given)"
