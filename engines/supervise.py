"""
The supervisor (supervisord): its configuration, its start and its end, and the questions it answers over its socket.

    NotRunning      no supervisor answers for this state folder
    CannotSupervise the supervisor did not start, or refused a command; the text says why

`stop(state, name)`, `start(state, name)` and `pid(state, name)` are what a test or a drill needs to break one program.
"""

import http.client
import re
import resource
import shlex
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from engines.programs import Program
from engines.state import State
from observability.settings import MARK, ROOT

RUNNING = "RUNNING"
UNDER_WAY = (RUNNING, "STARTING", "BACKOFF")
ENDED = ("STOPPED", "EXITED", "FATAL")
STOPPING = "STOPPING"
SPAWNED = re.compile(r"spawned: '([\w-]+)' with pid")
LAUNCH_S = 20
ANSWER_S = 10
LONGEST_STOP_S = 25  # above every program's own patience, after which the supervisor kills it
LOG_BYTES = "10MB"
OPEN_FILES = 4096  # macOS begins with 256, too few for a broker

HEAD = """\
[supervisord]
logfile={log}
logfile_maxbytes={log_bytes}
logfile_backups=1
pidfile={pid}
directory={root}
childlogdir={logs}
identifier=vigie
minfds={open_files}
nocleanup=true

[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

PROGRAM = """
[program:{name}]
command={command}
directory={root}
autostart=false
autorestart=true
startsecs={steady_s}
startretries=100000
stopsignal=TERM
stopwaitsecs={stop_s}
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes={log_bytes}
stdout_logfile_backups=2
"""


class NotRunning(Exception):
    """No supervisor answers for this state folder."""


class CannotSupervise(Exception):
    """The supervisor did not start, or refused a command; the text says why."""


@dataclass(frozen=True)
class Process:
    """What the supervisor says of one program; `pid` 0 and `since` 0 when it does not run."""

    name: str
    state: str
    pid: int
    since: int  # Unix time
    note: str


def configuration(programs: Sequence[Program], state: State) -> str:
    """The whole supervisord.conf; a percent sign is doubled, as supervisord expands them."""
    head = HEAD.format(
        log=state.supervisor_log,
        log_bytes=LOG_BYTES,
        open_files=open_files(),
        pid=state.run / "supervisord.pid",
        root=ROOT,
        logs=state.logs,
        socket=state.socket,
    )
    sections = [
        PROGRAM.format(
            name=program.name,
            command=shlex.join(program.command),
            root=ROOT,
            stop_s=program.stop_s,
            steady_s=program.steady_s,
            log=state.log(program.name),
            log_bytes=LOG_BYTES,
        )
        for program in programs
    ]
    return "".join([head, *sections]).replace("%", "%%")


def open_files() -> int:
    """How many files a process may open: what we want, or the most that this user may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)


def launch(programs: Sequence[Program], state: State, env: Mapping[str, str]) -> None:
    """
    Start the supervisor with nothing running under it yet; its children inherit `env`, and the mark of this state.

    Raises:
        CannotSupervise: it ended at once, or does not answer.
    """
    file = state.config / "supervisord.conf"
    file.write_text(configuration(programs, state))
    state.supervisor_log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)]
    marked = {**env, MARK: str(state.root)}
    done = subprocess.run(command, env=marked, capture_output=True, text=True, timeout=LAUNCH_S, check=False)
    if done.returncode:
        raise CannotSupervise(f"supervisord did not start: {(done.stderr or done.stdout).strip()[-2000:]}")
    deadline = time.monotonic() + LAUNCH_S
    while not alive(state):
        if time.monotonic() > deadline:
            raise CannotSupervise(f"supervisord does not answer after {LAUNCH_S} s; its log: {state.supervisor_log}")
        time.sleep(0.05)


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Transport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:  # noqa: ARG002 its name is the base's
        return Connection(self.path)


def ask(state: State, method: str, *words: object) -> Any:
    """
    Call one method of the supervisor, such as `supervisor.startProcess`.

    Raises:
        NotRunning: nothing answers on its socket.
        CannotSupervise: it refused.
    """
    with xmlrpc.client.ServerProxy("http://localhost", transport=Transport(str(state.socket))) as server:
        try:
            return getattr(server, method)(*words)
        except (OSError, http.client.HTTPException) as error:
            raise NotRunning(f"no supervisor answers at {state.socket}") from error
        except xmlrpc.client.Fault as error:
            raise CannotSupervise(error.faultString) from error


def alive(state: State) -> bool:
    """Whether a supervisor answers for this state folder."""
    try:
        ask(state, "supervisor.getState")
    except NotRunning:
        return False
    return True


def processes(state: State) -> dict[str, Process]:
    """Every program by name, as the supervisor sees it now."""
    return {
        info["name"]: Process(
            name=info["name"],
            state=info["statename"],
            pid=info["pid"],
            since=info["start"] if info["pid"] else 0,
            note=info["spawnerr"],
        )
        for info in ask(state, "supervisor.getAllProcessInfo")
    }


def pid(state: State, name: str) -> int:
    """The process id of one program; 0 when it does not run."""
    return processes(state)[name].pid


def start(state: State, name: str) -> None:
    """Start one program, unless it runs; it may not be ready yet."""
    if processes(state)[name].state not in UNDER_WAY:
        ask(state, "supervisor.startProcess", name, False)


def stop(state: State, *names: str) -> None:
    """
    Stop these programs at once, and wait until each has ended (it is killed after its own patience).

    Raises:
        CannotSupervise: one is still there after LONGEST_STOP_S.
    """
    for name in names:
        if processes(state)[name].state in UNDER_WAY:
            ask(state, "supervisor.stopProcess", name, False)
    deadline = time.monotonic() + LONGEST_STOP_S
    while left := [name for name in names if processes(state)[name].state not in ENDED]:
        if time.monotonic() > deadline:
            raise CannotSupervise(f"{', '.join(left)}: still there {LONGEST_STOP_S} s after being told to stop")
        time.sleep(0.1)


def shut_down(state: State) -> None:
    """End the supervisor, and with it what still runs under it."""
    supervisor = psutil.Process(ask(state, "supervisor.getPID"))
    ask(state, "supervisor.shutdown")
    try:
        supervisor.wait(LONGEST_STOP_S)
    except psutil.TimeoutExpired as error:
        raise CannotSupervise(f"supervisord (pid {supervisor.pid}) did not end in {LONGEST_STOP_S} s") from error


def starts(state: State) -> Counter[str]:
    """How often each program was started since the supervisor was: its log tells, it does not count them itself."""
    log = state.supervisor_log
    return Counter(SPAWNED.findall(log.read_text(errors="replace") if log.is_file() else ""))
