"""Every experiment is Chaos Toolkit's, knows its alert, can be undone, and ten lines are enough to write one."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from chaos import catalogue
from chaos.__main__ import able, started_for
from chaos.alerts import WATCHDOG
from chaos.catalogue import WrongExperiment
from observability import settings
from observability.settings import ROOT

DRILLS = {drill.name: drill for drill in catalogue.everything()}
ALERTS = {
    rule["alert"]: rule["labels"]["severity"]
    for file in (ROOT / "observability" / "prometheus" / "rules").glob("*.yml")
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
each_drill = pytest.mark.parametrize("name", DRILLS)


def test_drills_are_numbered_from_one_each_once():
    assert [drill.number for drill in DRILLS.values()] == list(range(1, len(DRILLS) + 1))


WHOLE = settings.environ({"VIGIE_WIRES": "1", "VIGIE_CLOCKS": "ingest,spark", "VIGIE_BROKERS": "3"}, running=False)
OF_BROKERS = {"broker-kill", "brokers-rolling", "brokers-no-quorum", "brokers-all", "broker-frozen", "broker-disk-lost"}


BROKER = {"VIGIE_KAFKA_BOOTSTRAP": WHOLE["VIGIE_KAFKA_BOOTSTRAP"].split(",")[0]}
THEIRS = "of its own (other addresses are given)"
OTHER = f"the simulator as source {THEIRS}"
GONE = "VIGIE_USERS_RETENTION_DAYS=0 (sums of users that are not stored any more cannot be rebuilt)"
OF_CASSANDRA = {"sums-lost", "cassandra-kill", "cassandra-frozen", "dashboard-without-stores", "everything-kill"}
OF_SOURCE = {one for one in DRILLS if one.startswith("api-")} | {"too-large"}


CONTAINERS = {
    "VIGIE_COMPOSE_PROJECT": "vigie",
    "VIGIE_SOURCE_URL": "http://simulator:8090/api/",
    "VIGIE_SIMULATOR_ADMIN_HOST": "simulator",
    "VIGIE_CASSANDRA_HOSTS": "cassandra",
    "VIGIE_MONGO_URI": "mongodb://mongo:27017",
}
INNER = {"broker-disk-lost", "disk-full", "clock-off", "sums-lost", "everything-kill", "wires-slow", "wires-parted"}
INNER |= {"driver-killed-in-batch", "driver-out-of-memory", "checkpoint-damaged", "checkpoint-lost"}


@pytest.mark.parametrize(
    ("without", "left_out", "said"),
    [
        ({}, set(), ""),
        ({"VIGIE_WIRES": "0"}, {"wires-slow", "wires-parted"}, "left out: wires-slow: VIGIE_WIRES=1"),
        ({"VIGIE_CLOCKS": ""}, {"clock-off"}, "left out: clock-off: VIGIE_CLOCKS=ingest"),
        ({"VIGIE_CLOCKS": "spark"}, {"clock-off"}, "left out: clock-off: VIGIE_CLOCKS=ingest"),
        ({"VIGIE_BROKERS": "1"} | BROKER, OF_BROKERS, "left out: broker-kill: VIGIE_BROKERS=2"),
        ({"VIGIE_CASSANDRA_HOSTS": "10.0.0.7"}, OF_CASSANDRA, f"left out: sums-lost: Cassandra {THEIRS}"),
        (
            {"VIGIE_SOURCE_URL": "https://randomuser.me/api/"},
            OF_SOURCE,
            f"left out: api-down: the simulator as source {THEIRS}",
        ),
        (
            {"VIGIE_USERS_RETENTION_DAYS": "30"},
            {"sums-lost"},
            f"left out: sums-lost: {GONE}",
        ),
        (CONTAINERS, INNER, "left out: wires-slow: make up (it reaches into a program)"),
        (
            CONTAINERS | {"VIGIE_MONGO_URI": "mongodb://elsewhere:27017"},
            INNER | {"mongodb-kill", "mongodb-frozen", "dashboard-without-stores"},
            "left out: mongodb-kill: VIGIE_MONGO_URI without another address",
        ),
        (
            CONTAINERS | {"VIGIE_SIMULATOR_ADMIN_HOST": "127.0.0.1"},
            set(DRILLS),
            "left out: broker-kill: VIGIE_SIMULATOR_ADMIN_HOST=simulator",
        ),
        (
            CONTAINERS | {"VIGIE_SOURCE_URL": "https://randomuser.me/api/"},
            INNER | OF_SOURCE,
            "left out: api-down: the simulator as source",
        ),
    ],
)
def test_all_is_what_this_system_was_started_for_and_names_the_others(without, left_out, said, capsys):
    env = WHOLE | without
    assert set(DRILLS) - {one.name for one in able(env)} == left_out
    assert (said in capsys.readouterr().out.splitlines()) == bool(said)
    assert {one.name for one in started_for(env)} == {one.name for one in able(env)}


@each_drill
def test_a_drill_expects_alerts_that_exist_with_their_severity(name: str):
    bounds = DRILLS[name].bounds
    assert set(bounds.expect) | set(bounds.allow) <= set(ALERTS) - {WATCHDOG}
    assert {ALERTS[one] for one in bounds.expect} == ({bounds.severity} if bounds.expect else set())
    assert bounds.expect or bounds.silence, "a fault that no alert sees is a failed drill"


@each_drill
def test_a_drill_has_a_steady_state_an_end_and_a_rollback(name: str):
    experiment = DRILLS[name].experiment
    assert [one["name"] for one in experiment["steady-state-hypothesis"]["probes"]] == [
        "everything runs",
        "the promise holds",
        "users agree",
    ]
    assert experiment["method"][-1]["name"] == "the promise holds again"
    assert experiment["rollbacks"][-1]["provider"]["func"] == "restore"


@each_drill
def test_what_a_method_breaks_it_also_ends(name: str):
    made, ended = set(), set()
    for activity in DRILLS[name].method:
        provider = activity["provider"]
        programs = set(provider["arguments"].get("programs", []))
        match provider["func"]:
            case "kill" | "stop" | "freeze":
                made |= programs
            case "start" | "thaw":
                ended |= programs
    assert made == ended


def test_numbers_are_the_drills_own():
    numbers = [drill.number for drill in DRILLS.values()]
    assert all(numbers)
    assert sorted(numbers) == [drill.number for drill in catalogue.everything()]


def test_all_of_them_are_run_with_slow_alerts_far_apart_and_the_blinding_ones_last():
    order = catalogue.in_turn(list(DRILLS.values()))
    assert sorted(one.name for one in order) == sorted(DRILLS)
    for alert, apart in (("DeadLetters", 5), ("ProcessRestarting", 8)):
        places = [n for n, one in enumerate(order) if one.bounds.expect == (alert,)]
        assert min(other - one for one, other in pairwise(places)) >= apart
    blind = [one.bounds.silence for one in order]
    assert blind == sorted(blind)


TEN_LINES = """{
  "title": "One broker of three is killed",
  "description": "kill -9 of kafka-3 for half a minute",
  "extensions": [{"name": "vigie", "number": 99, "expect": ["BrokerDown"], "recover_s": 30}],
  "method": [
    {"type": "action", "name": "kill", "provider":
      {"type": "python", "module": "chaos.faults", "func": "strike", "arguments": {"programs": ["kafka-3"]}}}
  ]
}
"""


def test_ten_lines_are_a_drill(tmp_path: Path):
    file = tmp_path / "mine.json"
    file.write_text(TEN_LINES)
    (drill,) = catalogue.named(["mine"], tmp_path)
    assert (drill.number, drill.bounds.recover_s, len(drill.method)) == (99, 30, 1)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"extensions": []}, "unpack"),
        ({"extensions": [{"name": "vigie", "expect": "BrokerDown"}]}, "expect"),
        ({"method": [{"type": "action", "name": "kill"}]}, "provider"),
        ({"title": ""}, "title"),
    ],
    ids=["without its extension", "of an unknown form", "without a way to do it", "without a title"],
)
def test_what_is_no_experiment_is_refused_by_a_sentence(tmp_path: Path, change: dict, word: str):
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(json.loads(TEN_LINES) | change))
    with pytest.raises(WrongExperiment, match=word):
        catalogue.named(["wrong"], tmp_path)


def test_a_drill_that_is_not_there_is_refused():
    with pytest.raises(WrongExperiment, match="no such drill"):
        catalogue.named(["no-such"])
