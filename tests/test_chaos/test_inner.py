"""What reaches into one program is real: its disk refuses, its clock is off, its wires are slow, cut or parted."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from unittest.mock import Mock

import psutil
import pytest
import requests

from chaos import clock, disk, inner, points, target, wires
from engines import builds, clocks, config, supervise
from engines.config import Config
from engines.programs import Program
from engines.state import State
from observability import settings
from spark.contract import KILL_POINTS

SAYS = """
import json, sys, time
from engines import clocked
clocked.mend()
while True:
    try:
        with open(sys.argv[1], "a") as file:
            file.write("x")
        wrote = True
    except OSError:
        wrote = False
    print(json.dumps({"time": time.time(), "steady": time.monotonic(), "wrote": wrote}), flush=True)
    time.sleep(0.1)
"""


def until(so: Callable[[], bool], for_s: float = 20) -> None:
    ends = time.monotonic() + for_s
    while not so():
        assert time.monotonic() < ends, "it did not come to be so in time"
        time.sleep(0.05)


@pytest.fixture
def aimed(tmp_path) -> Iterator[target.Target]:
    """A supervisor with one program, which says what time it is and whether it could write."""
    state = State(tmp_path / "state")
    state.make()
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    env = outer | {"VIGIE_STATE": str(state.root), "VIGIE_CLOCKS": "ingest" if clocks.library() else ""}
    env["VIGIE_WIRES_PORT"] = "1"  # nobody's: a system that runs beside the tests has wires of its own
    wanted = settings.read(Config, config.environ(env, running=False))
    clocks.prepare(wanted, state)
    (tmp_path / "says.py").write_text(SAYS)
    says = (sys.executable, str(tmp_path / "says.py"), str(tmp_path / "file"))
    command = (*clocks.by_clock(wanted, state, "ingest"), *says)
    supervise.launch([Program("ingest", "ingest", "pipeline", command, (), lambda: True)], state, env)
    supervise.start(state, "ingest")
    until(lambda: supervise.pid(state, "ingest") > 0 and state.log("ingest").is_file() and said(state) != {})
    yield target.made(env)
    supervise.shut_down(state)


def said(state: State) -> dict:
    """The last whole line of the program."""
    for line in reversed(state.log("ingest").read_text().splitlines()):
        with suppress(ValueError):
            return dict(json.loads(line))
    return {}


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_FSIZE"), reason="only Linux limits another process")
def test_a_full_disk_refuses_one_program_and_lets_it_write_again(aimed):
    told = {target.KEY: aimed}
    pid = supervise.pid(aimed.state, "ingest")
    assert said(aimed.state)["wrote"]
    assert inner.fill_disk(configuration=told) == f"pid {pid} of ingest may not write"
    until(lambda: not said(aimed.state)["wrote"])
    assert disk.is_full(aimed.state)
    inner.undo(told)
    until(lambda: said(aimed.state)["wrote"])
    assert (disk.is_full(aimed.state), supervise.pid(aimed.state, "ingest")) == (False, pid)


@pytest.mark.skipif(clocks.library() is None, reason="no libfaketime is here: apt install faketime")
def test_a_clock_goes_an_hour_ahead_and_comes_back_while_its_program_runs(aimed):
    told = {target.KEY: aimed}
    inner.shift_clock("ingest", 3600, told)
    before = time.monotonic()
    until(lambda: 3590 < said(aimed.state)["time"] - time.time() < 3610)
    assert said(aimed.state)["steady"] - before < 60, "only the time of day is moved"
    inner.undo(told)
    until(lambda: abs(said(aimed.state)["time"] - time.time()) < 10)


def test_a_clock_that_cannot_be_moved_is_told(aimed):
    with pytest.raises(clock.NoClock, match="VIGIE_CLOCKS=spark"):
        clock.shift(aimed.state, "spark", 3600)


def test_an_undone_drill_leaves_no_point_armed(aimed):
    points.arm(aimed.state, KILL_POINTS[0])
    inner.undo({target.KEY: aimed})
    assert points.armed(aimed.state) == []


def test_a_damaged_checkpoint_has_offsets_of_zeros(aimed):
    offsets = aimed.state.data / "checkpoints" / "stats" / "offsets"
    offsets.mkdir(parents=True)
    (offsets / "7").write_text("v1\n{}")
    assert inner.damage_checkpoint("stats", {target.KEY: aimed}).startswith("1 files")
    assert (offsets / "7").read_bytes() == bytes(40)


def test_an_undone_drill_leaves_no_checkpoint_damaged_and_no_sum_lost(aimed, monkeypatch):
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(inner, "_run", lambda _, *words: ran.append(words) or "done")
    monkeypatch.setattr(aimed.programs, "stop", lambda name: ran.append(("stop", name)), raising=False)
    monkeypatch.setattr("services.hops.cassandra", lambda *_, **__: Mock())
    offsets = aimed.state.data / "checkpoints" / "stats" / "offsets"
    offsets.mkdir(parents=True)
    told = {target.KEY: aimed}
    inner.damage_checkpoint("stats", told)
    inner.lose_sums(told)
    inner.undo(told)
    inner.undo(told)
    assert ran[:2] == [("stop", "spark"), ("spark.lanes", "--set-checkpoint-aside", "stats")]
    assert [words[:3] for words in ran[2:]] == [("engines", "without", "spark")]
    assert aimed.owed == {}


def test_without_wires_it_is_said_how_there_would_be_some(aimed):
    with pytest.raises(wires.NoWires, match="VIGIE_WIRES=1"):
        inner.part(["ingest"], {target.KEY: aimed})


@pytest.fixture(scope="module")
def wire(tmp_path_factory) -> Iterator[tuple[str, int]]:
    """Toxiproxy before a server that sends everything back: its API, and the port where the wire begins."""
    folder = tmp_path_factory.mktemp("wires")
    with socket.create_server(("127.0.0.1", 0)) as server, closing(socket.socket()) as free, socket.socket() as other:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        for one in (free, other):
            one.bind(("127.0.0.1", 0))
        api_port, port = free.getsockname()[1], other.getsockname()[1]
        whole = {
            "name": "ingest-echo",
            "listen": f"127.0.0.1:{port}",
            "upstream": f"127.0.0.1:{server.getsockname()[1]}",
        }
        (folder / "wires.json").write_text(json.dumps([whole]))
        free.close()
        other.close()
        program = builds.named("toxiproxy") / "server"
        process = subprocess.Popen(
            [str(program), "-host=127.0.0.1", f"-port={api_port}", f"-config={folder / 'wires.json'}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        api = f"http://127.0.0.1:{api_port}"

        def up() -> bool:
            with suppress(wires.NoWires, requests.RequestException):
                return wires.named(api, ["ingest"]) == ["ingest-echo"]
            return False

        until(up)
        yield api, port
        process.terminate()
        process.wait(10)


def serve(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            there, _ = server.accept()
            threading.Thread(target=echo, args=(there,), daemon=True).start()


def echo(there: socket.socket) -> None:
    with suppress(OSError), there:
        while found := there.recv(100):
            there.sendall(found)


def answer_s(there: socket.socket, patience_s: float = 5) -> float:
    """
    How long an answer takes.

    Raises:
        OSError: there is none.
    """
    there.settimeout(patience_s)
    began = time.monotonic()
    there.sendall(b"x")
    if not there.recv(1):
        raise ConnectionResetError
    return time.monotonic() - began


@pytest.mark.engines
def test_a_wire_is_slow_parted_reset_and_cut_and_mended_each_time(wire):
    api, port = wire
    with socket.create_connection(("127.0.0.1", port)) as there:
        wires.slow(api, ["ingest"], 500)
        assert answer_s(there) > 0.4
        wires.mend(api)
        assert answer_s(there) < 0.4
        wires.part(api, ["ingest"])
        with pytest.raises(TimeoutError):
            answer_s(there, 1)
        with socket.create_connection(("127.0.0.1", port)) as new, pytest.raises(TimeoutError):
            answer_s(new, 1)
        wires.mend(api)
    with socket.create_connection(("127.0.0.1", port)) as there:
        wires.reset(api, ["ingest"], 0.0)
        assert answer_s(there) < 0.4
        wires.reset(api, ["ingest"], 1.0)
        with pytest.raises(OSError):
            answer_s(there)
        wires.mend(api)
    with socket.create_connection(("127.0.0.1", port)) as there:
        assert answer_s(there) < 0.4
        wires.cut(api, [""])
        with pytest.raises(OSError):
            answer_s(there)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        wires.mend(api)
    with socket.create_connection(("127.0.0.1", port)) as there:
        assert answer_s(there) < 0.4
