"""The supervisor keeps programs running, counts their restarts, and leaves nothing behind, even when it is killed."""

import os
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from engines import down, hops, leftovers, supervise
from engines.__main__ import main
from engines.programs import Program
from engines.state import State
from engines.status import status, text
from engines.supervise import NotRunning

SLEEPER = (sys.executable, "-c", "import time; print('100 % awake', flush=True); time.sleep(1000)")


def program(name: str, command: tuple[str, ...] = SLEEPER) -> Program:
    return Program(name, name, "engines", command, (), lambda: True)


def wait(so: Callable[[], bool], for_s: float = 20) -> None:
    ends = time.monotonic() + for_s
    while not so():
        assert time.monotonic() < ends, "it did not come to be so in time"
        time.sleep(0.05)


@pytest.fixture
def running(state: State, env) -> Iterator[State]:
    """A supervisor with two sleepers, `ingest` and `kafka-1`; only the first is started."""
    supervise.launch([program("ingest"), program("kafka-1")], state, env)
    supervise.start(state, "ingest")
    wait(lambda: supervise.processes(state)["ingest"].state == supervise.RUNNING)
    yield state
    leftovers.end(leftovers.marked(state.root))
    state.clear()


def test_a_program_that_is_killed_comes_back_and_is_counted(running: State):
    before = supervise.pid(running, "ingest")
    psutil.Process(before).kill()
    wait(lambda: supervise.pid(running, "ingest") not in (0, before))
    assert supervise.starts(running)["ingest"] == 2


def test_a_program_stops_and_starts_by_name(running: State):
    supervise.stop(running, "ingest")
    assert supervise.pid(running, "ingest") == 0
    supervise.start(running, "ingest")
    supervise.start(running, "ingest")
    assert supervise.pid(running, "ingest") > 0


def test_a_log_has_what_the_program_writes(running: State):
    wait(lambda: running.log("ingest").read_text() == "100 % awake\n")


def test_status_tells_each_process_and_is_not_well_while_one_is_stopped(running: State, env, monkeypatch):
    monkeypatch.setattr(hops, "read", lambda env: {"fetched": 1200, "stored": None})
    found = status(env)
    lines = {line.name: line for line in found.processes}
    assert not found.running
    assert lines["ingest"].memory > 1e6
    assert (lines["kafka-1"].state, lines["kafka-1"].pid) == ("STOPPED", 0)
    assert "fetched  1,200" in text(found)


def test_down_ends_everything_and_leaves_data_and_logs_alone(running: State, env, capsys):
    (running.data / "kept").write_text("")
    pids = [one.pid for one in leftovers.marked(running.root)]
    assert len(pids) == 2
    down.down(env)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert leftovers.marked(running.root) == []
    assert sorted(one.name for one in running.root.iterdir()) == ["data", "lock", "logs"]
    assert not running.socket.exists()
    assert (running.data / "kept").exists()
    assert "stopped ingest" in capsys.readouterr().out
    down.down(env)
    assert capsys.readouterr().out == "not running\n"


def test_what_a_killed_supervisor_left_is_seen_and_ended(running: State, env, capsys):
    supervisor = next(one for one in leftovers.marked(running.root) if "supervisord" in " ".join(one.cmdline()))
    supervisor.kill()
    wait(lambda: not supervise.alive(running))
    assert "left without a supervisor: 1 of its processes; make down" in text(status(env))
    down.down(env)
    assert leftovers.marked(running.root) == []
    assert "ended what was left: " in capsys.readouterr().out


def test_a_stranger_with_the_same_settings_is_not_ours(running: State):
    assert os.getpid() not in [one.pid for one in leftovers.marked(running.root)]


def test_nothing_answers_for_a_folder_where_nothing_runs(state: State):
    assert not supervise.alive(state)
    with pytest.raises(NotRunning):
        supervise.processes(state)


def test_the_end_of_a_log_is_shown_and_an_unknown_name_tells_the_known(state: State, env, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", env)
    state.log("spark").write_text("one\ntwo\nthree\n")
    monkeypatch.setattr(sys, "argv", ["engines", "logs", "--what", "spark", "--lines", "2"])
    assert main() == 0
    assert capsys.readouterr().out == "two\nthree\n"
    monkeypatch.setattr(sys, "argv", ["engines", "logs", "--what", "sprak"])
    assert main() == 1
    told = capsys.readouterr().out
    assert told.startswith("which log? make logs WHAT=... with one of: spark;")
