"""`python -m engines up|down|status|logs|without`: the one way to start, stop and look at the system."""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping

from engines import config, supervise, tail, tools
from engines.brokers import CannotFormat
from engines.console import say
from engines.down import StillThere, down
from engines.fetch import CannotFetch
from engines.programs import environment
from engines.state import State
from engines.status import plain, status, text
from engines.supervise import CannotSupervise, NotRunning
from engines.up import NotReady, Refused, up
from observability.lock import Held
from observability.settings import WrongSetting

SENTENCES = (WrongSetting, Refused, CannotFetch, CannotFormat, CannotSupervise, NotRunning, Held, StillThere)

Options = argparse.Namespace


def run_up(options: Options, env: Mapping[str, str]) -> int:
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.default_int_handler)  # as Ctrl-C: no build is left at work
    try:
        up(env, tuple(filter(None, options.only.split(","))))
    except NotReady as error:
        say(f"{error}\nwhat was started is left running, for a look: make status, make logs WHAT=..., make down")
        return 1
    except KeyboardInterrupt:
        say("interrupted; what was started is left running: make status, make down")
        return 130
    return 0


def run_down(_: Options, env: Mapping[str, str]) -> int:
    down(env)
    return 0


def run_status(options: Options, env: Mapping[str, str]) -> int:
    found = status(env)
    say(json.dumps(plain(found)) if options.json else text(found))
    return 0 if found.running else 1


def run_logs(options: Options, env: Mapping[str, str]) -> int:
    state = State(config.folder(env))
    if options.trace:
        lines = tail.of_trace(state.logs, options.trace.lower())
        for line in lines or [f"no log has a line of trace {options.trace}"]:
            say(line)
        return 0 if lines else 1
    known = sorted(file.stem for file in state.logs.glob("*.log"))
    asked = [name for name in known if name == options.what or name.startswith(f"{options.what}-")]
    if not options.what or not asked:
        names = ", ".join(known) or "none yet, make up first"
        say(f"which log? make logs WHAT=... with one of: {names}; or the lines of one trace: make logs TRACE=...")
        return 1
    for name in asked:
        for line in tail.last(state.log(name), options.lines):
            say(line)
    if options.follow:
        try:
            for line in tail.follow(state.log(asked[0])):
                say(line)
        except KeyboardInterrupt:
            return 0
    return 0


def run_without(options: Options, env: Mapping[str, str]) -> int:
    state = State(config.folder(env))
    whole = config.environ(env, running=True)
    java = tools.java(whole)
    if java is None:
        raise Refused(tools.no_java(whole))
    with state.alone():
        known = supervise.processes(state)
        if options.program not in known:
            raise Refused(f"{options.program}: no such program runs; there are {', '.join(known)}")
        ran = known[options.program].state in supervise.UNDER_WAY
        for sign in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(sign, lambda *_: sys.exit(1))
        supervise.stop(state, options.program)
        try:
            return subprocess.run(options.command, env=environment(whole, state, java.home), check=False).returncode
        finally:
            if ran:
                supervise.start(state, options.program)


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="python -m engines", description=__doc__)
    verbs = whole.add_subparsers(required=True, metavar="up|down|status|logs|without")

    def verb(name: str, run: Callable[[Options, Mapping[str, str]], int], words: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=words, description=words)
        made.set_defaults(run=run)
        return made

    one = verb("up", run_up, "fetch what is missing, start everything, wait until users are in both stores")
    one.add_argument("--only", default="", metavar="NAMES", help="just these programs, such as kafka,cassandra")
    verb("down", run_down, "stop everything; data and logs stay")
    one = verb("status", run_status, "what runs, and how far users have come; exit code 0 when all runs")
    one.add_argument("--json", action="store_true", help="for other programs")
    one = verb("logs", run_logs, "the end of a program's log, or what all of them say of one trace")
    one.add_argument("--what", default="", metavar="NAME", help="a program, such as spark or kafka-1")
    one.add_argument("--trace", default="", metavar="ID", help="the lines of this trace from all logs")
    one.add_argument("--lines", type=int, default=100, metavar="N", help="how many of the last lines (100)")
    one.add_argument("--follow", action="store_true", help="go on with what is written from now on")
    one = verb(
        "without", run_without, "run a command while one program is stopped; it is started again whatever happens"
    )
    one.add_argument("program", metavar="NAME", help="a program, such as spark")
    one.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its words")
    return whole


def main() -> int:
    options = parser().parse_args()
    try:
        return int(options.run(options, os.environ))
    except SENTENCES as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
