"""A drill undoes what it did whatever happens, stops itself when a guard trips, and does not start on a sick system."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from chaos import __main__ as chaos
from chaos import catalogue, drill, faults, inner, keep, probes, programs, target, watch
from chaos.bounds import Bounds, Window
from chaos.catalogue import python
from chaos.drill import NotStarted
from chaos.evidence import Evidence, Passage
from engines.supervise import NotRunning
from observability import lock, settings


@dataclass
class Toys:
    """Programs of our own: they do as they are told, and remember it."""

    told: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)

    def states(self) -> dict[str, str]:
        return {name: "STOPPED" if name in self.gone else "RUNNING" for name in ("kafka-1", "kafka-2")}

    def kill(self, name: str) -> None:
        self.told.append(f"kill {name}")
        self.gone.add(name)

    stop = kill

    def strike(self, name: str) -> None:
        self.told.append(f"strike {name}")

    def start(self, name: str) -> None:
        self.told.append(f"start {name}")
        self.gone.discard(name)

    def freeze(self, name: str) -> None:
        self.told.append(f"freeze {name}")

    def thaw(self, name: str) -> None:
        self.told.append(f"thaw {name}")


@dataclass
class World:
    """A target without engines, and what is seen of it; the alert fires while a program is gone."""

    aimed: target.Target
    toys: Toys
    free: float = 50e9
    firing: set[str] = field(default_factory=set)

    def asked(self) -> dict[str, watch.Asked]:
        return {
            watch.ALERTS: lambda: {
                "firing": dict.fromkeys(self.firing | ({"BrokerDown"} if self.toys.gone else set()), "ticket"),
                "pending": {},
            },
            watch.TOLD: lambda: {"active": {}, "suppressed": {}},
            watch.METRICS: lambda: {watch.SETTLED: 1.0},
            watch.MONGODB: lambda: {"age": 1.0},
            watch.CASSANDRA: lambda: {"age": 1.0, "ends": {"0": 10**9}},
            watch.OUTBOX: lambda: {"rows": 0, "bytes": 0, "age": 0.0},
            watch.PAGE: lambda: {"status": 200, "ms": 5},
            watch.DISK: lambda: {"free": self.free},
        }


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    env = settings.environ({"VIGIE_STATE": str(tmp_path), "VIGIE_SIMULATOR_ADMIN_PORT": "1"}, running=False)
    toys = Toys()
    aimed = target.Target(env, settings.read(target.Settings, env), toys)
    monkeypatch.setattr(watch, "EVERY_S", dict.fromkeys(watch.SOURCES, 0.05))
    monkeypatch.setattr("chaos.probes.STEADY_S", 0.2)
    monkeypatch.setattr("chaos.probes.LOOKED_AT_S", 1.0)
    aimed.followed = True
    monkeypatch.setattr("chaos.probes.deaf", lambda _: "")
    monkeypatch.setattr("chaos.probes.collect", lambda *_: evidence())
    yield World(aimed, toys)


def evidence() -> Evidence:
    now = time.time()
    passages = tuple(Passage(f"user-{n}", now - n / 10, now - n / 10 + 0.05, 0, n) for n in range(200))
    ids = dict.fromkeys((one.user_id for one in passages), 1)
    return Evidence(now, frozenset(ids), frozenset(ids), ids, ids, passages=passages)


def killing(*more: dict[str, Any], detect_s: float = 20.0) -> catalogue.Drill:
    kill = python("action", "kill", "chaos.faults", "kill", programs=["kafka-2"])
    start = python("action", "start", "chaos.faults", "start", programs=["kafka-2"])
    written = {"title": "a broker is killed", "description": "as a test", "method": [kill, *more, start]}
    return catalogue.made("toy", 1, Bounds(("BrokerDown",), detect_s=detect_s, clear_s=1.0), written)


def hold(seconds: float) -> dict[str, Any]:
    return python("action", "hold", "chaos.faults", "hold", seconds=seconds)


def after(seconds: float, do: Callable[[], Any]) -> None:
    threading.Timer(seconds, do).start()


def test_a_drill_that_goes_well_passes_and_leaves_journal_report_and_history(world: World, monkeypatch):
    monkeypatch.setattr("chaos.verdict.LATE_S", 0.5)
    outcome = drill.run(killing(hold(0.5)), world.aimed, print, world.asked())
    assert outcome.verdict is not None
    assert outcome.verdict.failed == ()
    assert world.toys.told[:2] == ["kill kafka-2", "start kafka-2"]
    line = keep.keep(outcome, world.aimed)
    assert line["verdict"] == "PASS"
    assert {file.suffix for file in keep.folder(world.aimed).iterdir()} == {".json", ".html", ".jsonl"}
    assert keep.history(world.aimed, "toy") == [line]
    assert keep.history(world.aimed, "another") == []
    page = (keep.folder(world.aimed) / line["report"]).read_text()
    assert "PASS" in page
    assert "BrokerDown" in page
    assert "<script" not in page


def test_of_several_drills_only_the_first_and_the_last_read_every_document(world: World, monkeypatch):
    known: list[int] = []

    def collected(*asked: Any) -> Evidence:
        known.append(len(asked[2]))
        return replace(evidence(), documents=({"_id": "one"},))

    monkeypatch.setattr("chaos.verdict.LATE_S", 0.5)
    monkeypatch.setattr("chaos.probes.MINUTE_S", 0.1)
    monkeypatch.setattr("chaos.probes.collect", collected)
    for world.aimed.followed in (True, True, False):
        assert drill.run(killing(hold(0.5)), world.aimed, print, world.asked()).verdict is not None
    assert known == [0, 1, 1, 0]


def test_users_who_agreed_after_one_drill_are_not_read_again_before_the_next(world: World, monkeypatch):
    monkeypatch.setattr("chaos.verdict.LATE_S", 0.5)
    read = [evidence(), evidence(), evidence(), replace(evidence(), stored={})]
    monkeypatch.setattr("chaos.probes.collect", lambda *_: read.pop(0))
    for _ in range(2):
        assert drill.run(killing(hold(0.5)), world.aimed, print, world.asked()).verdict is not None
    assert len(read) == 1
    world.aimed.evidence[-1] = replace(world.aimed.evidence[-1], at=time.time() - 700)
    with pytest.raises(drill.NotStarted, match="200 lost"):
        drill.run(killing(hold(0.5)), world.aimed, print, world.asked())
    read += [evidence(), evidence()]
    assert drill.run(killing(hold(0.5)), world.aimed, print, world.asked()).verdict is not None
    assert read == []


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["ctrl-c", "term", "hang-up"])
def test_a_drill_that_is_interrupted_puts_everything_back(world: World, sign: signal.Signals):
    after(1.5, lambda: os.kill(os.getpid(), sign))
    before = signal.getsignal(sign)
    outcome = drill.run(killing(hold(30)), world.aimed, print, world.asked())
    assert (outcome.verdict, outcome.stopped) == (None, "interrupted")
    assert world.toys.gone == set()
    assert world.toys.told[:4] == ["kill kafka-2", "thaw kafka-1", "thaw kafka-2", "start kafka-1"]
    assert outcome.left == []
    assert signal.getsignal(sign) == before
    assert keep.keep(outcome, world.aimed)["verdict"] == "STOPPED"


def test_a_second_ctrl_c_loses_no_report_and_no_fault_is_ordered_after_the_rollback(world: World, monkeypatch):
    ordered: list[dict[str, Any]] = []

    def order(faults: dict[str, Any], _: Any = None) -> str:
        time.sleep(0.5)
        ordered.append(faults)
        return "ordered"

    monkeypatch.setattr("chaos.faults.source", order)
    kinds = [{"a": {}}, {"b": {}}, {"c": {}}]
    turn = python("action", "turn", "chaos.faults", "source_in_turn", faults=kinds, seconds=1)
    for seconds in (1.8, 2.0):
        after(seconds, lambda: os.kill(os.getpid(), signal.SIGINT))
    outcome = drill.run(killing(turn | {"background": True}, hold(5)), world.aimed, print, world.asked())
    assert (outcome.verdict, outcome.stopped, outcome.left) == (None, "interrupted", [])
    assert [one for one in ordered if one] in ([{"a": {}}], [{"a": {}}, {"b": {}}])
    assert ordered[-1] == {}
    assert world.toys.gone == set()


def test_users_are_compared_once_it_can_be_told_whether_they_are_late_again(world: World, monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr("chaos.probes.time.sleep", slept.append)
    world.aimed.again_at = time.time()
    probes.hold(world.aimed)
    world.aimed.followed = False
    probes.hold(world.aimed)
    assert slept[0] == pytest.approx(1.0, abs=0.5)
    assert (world.aimed.again_at + slept[1]) // 60 > world.aimed.again_at // 60


def test_a_rollback_asks_again_what_there_is_and_leaves_alone_what_was_not_broken(world: World, monkeypatch):
    told = {target.KEY: world.aimed}
    world.aimed.broken = False
    assert faults.restore(told) == inner.undo(told) == "nothing was broken"
    world.aimed.broken = True
    world.toys.gone = {"kafka-1"}
    states = [NotRunning("busy")]
    whole = world.toys.states
    monkeypatch.setattr(world.toys, "states", lambda: (_ for _ in ()).throw(states.pop()) if states else whole())
    monkeypatch.setattr("chaos.faults.up", lambda _: "up")
    assert faults.restore(told) == "everything is started, nothing is frozen"
    assert world.toys.gone == set()


def test_a_guard_that_trips_stops_the_drill_and_puts_everything_back(world: World):
    after(1.5, lambda: setattr(world, "free", 5e8))
    outcome = drill.run(killing(hold(30)), world.aimed, print, world.asked())
    assert outcome.verdict is None
    assert outcome.stopped == "only 500 MB are free on the disk"
    assert world.toys.gone == set()


def test_a_full_outbox_trips_the_guard():
    guard = drill.Guard(1000)
    guard(watch.Note(1.0, watch.OUTBOX, {"bytes": 950}))
    assert guard.tripped == "", "nothing is broken yet: this is not the drill's doing"


def test_nothing_is_broken_where_the_steady_state_does_not_hold(world: World):
    world.toys.gone.add("kafka-1")
    world.firing = set()
    asked = world.asked() | {watch.ALERTS: lambda: {"firing": {}, "pending": {}}}
    quick = killing(hold(0.1))
    quick.experiment["steady-state-hypothesis"]["probes"][0]["provider"]["arguments"] = {"patience_s": 0.2}
    with pytest.raises(NotStarted, match="kafka-1 is STOPPED"):
        drill.run(quick, world.aimed, print, asked)
    assert not [told for told in world.toys.told if told.startswith("kill")]


def test_nothing_is_broken_while_the_alert_that_is_waited_for_fires_already(world: World, monkeypatch):
    monkeypatch.setattr(drill, "QUIET_S", 0.3)
    world.firing = {"BrokerDown"}
    with pytest.raises(NotStarted, match="before anything was broken: BrokerDown"):
        drill.run(killing(hold(0.1)), world.aimed, print, world.asked())
    assert world.toys.told == []


def test_two_drills_at_once_are_refused(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("VIGIE_STATE", str(tmp_path))
    (tmp_path / "drills").mkdir()
    with lock.alone(tmp_path / "drills" / ".lock", "held"):
        assert chaos.main(["broker-kill"]) == 2
    assert "another drill is at work on this system" in capsys.readouterr().out
    assert chaos.main(["broker-kill"]) == 2
    assert "not started: nothing runs here" in capsys.readouterr().out


def test_nothing_is_broken_where_nothing_runs_or_nobody_watches(world: World, monkeypatch):
    monkeypatch.setattr(drill, "ANSWER_S", 0.3)
    with pytest.raises(NotStarted, match="Prometheus does not answer"):
        drill.run(killing(), world.aimed, print, world.asked() | {watch.ALERTS: nobody})
    monkeypatch.setattr(world.toys, "states", dict)
    with pytest.raises(NotStarted, match="nothing runs here: make up"):
        drill.run(killing(), world.aimed, print, world.asked())
    assert world.toys.told == []


def nobody() -> dict[str, Any]:
    raise ConnectionError("nobody there")


def test_a_fault_that_cannot_be_made_is_a_failed_drill(world: World, monkeypatch):
    def refuses(name: str) -> None:
        raise programs.CannotBreak(f"{name} would not die")

    monkeypatch.setattr(world.toys, "kill", refuses)
    outcome = drill.run(killing(hold(0.2), detect_s=1.0), world.aimed, print, world.asked())
    assert outcome.verdict is not None
    assert "kill: " in outcome.verdict.failed[0]
    assert "kafka-2 would not die" in outcome.verdict.failed[0]


def test_a_rollback_goes_on_after_what_it_cannot_put_back_and_says_so(world: World, monkeypatch):
    def refuses(name: str) -> None:
        raise programs.CannotBreak(f"{name} stays frozen")

    monkeypatch.setattr(world.toys, "thaw", refuses)
    after(1.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    outcome = drill.run(killing(hold(30)), world.aimed, print, world.asked())
    assert world.toys.gone == set()
    (left,) = outcome.left
    assert "could not thaw kafka-1: CannotBreak: kafka-1 stays frozen" in left


def test_a_program_that_does_not_come_back_fails_the_drill(world: World, monkeypatch):
    monkeypatch.setattr(world.toys, "start", lambda _: None)
    monkeypatch.setattr("chaos.faults.PATIENCE_S", 0.2)
    monkeypatch.setattr("chaos.verdict.LATE_S", 0.5)
    quick = killing(hold(0.2))
    for probe in quick.experiment["steady-state-hypothesis"]["probes"]:
        probe["provider"]["arguments"] = {"patience_s": 0.5}
    monkeypatch.setattr(drill, "LEAST_PATIENCE_S", 0.5)
    quick = replace(quick, bounds=replace(quick.bounds, recover_s=0.2))
    outcome = drill.run(quick, world.aimed, print, world.asked())
    assert outcome.verdict is not None
    assert [one.split(":")[0] for one in outcome.verdict.failed if "kafka-2 is STOPPED" in one] == [
        "the promise holds again",
        "not as it was before",
    ]
    assert any("should be started" in one for one in outcome.verdict.failed)


def test_history_tells_when_recovery_gets_slower():
    earlier = [{"recover_s": s} for s in (10.0, 11.0, 12.0, None)]
    assert keep.slower({"recover_s": 12.0}, earlier) == ""
    assert keep.slower({"recover_s": 25.0}, earlier).startswith("slower than usual: 25 s")
    assert keep.slower({"recover_s": 25.0}, []) == ""


def test_a_fault_is_marked_in_a_grafana_where_there_is_one(world: World):
    marks: list[dict[str, Any]] = []

    class Grafana(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            marks.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))) | {"at": self.path})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    outcome = drill.Outcome(killing(), {}, Window(1000.0, 1040.0, 1100.0), None, [])
    line = {"verdict": "PASS"}
    with HTTPServer(("127.0.0.1", 0), Grafana) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        aimed = replace(world.aimed, settings=replace(world.aimed.settings, grafana=address))
        assert keep.mark(outcome, line, aimed)
        server.shutdown()
    (mark,) = marks
    assert (mark["at"], mark["time"], mark["timeEnd"]) == ("/api/annotations", 1_000_000, 1_040_000)
    assert mark["tags"] == ["drill", "toy", "PASS"]
    assert not keep.mark(outcome, line, aimed), "none is there: no error either"


def test_a_step_that_failed_is_told_in_a_line_and_not_by_its_traceback():
    run = {
        "exception": [
            "Traceback (most recent call last):\n",
            "  File x\n",
            "chaoslib.exceptions.ActivityFailed: kafka.errors.KafkaTimeoutError: nobody\n",
        ]
    }
    assert drill.why(run) == "kafka.errors.KafkaTimeoutError: nobody"
    assert drill.why({}) == "failed"
