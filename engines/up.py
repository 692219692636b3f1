"""
`up`: from nothing to users in both stores, or a sentence that says what is missing.

    Refused         nothing was started: what must be changed first
    NotReady        the system is up, but a part of it is not ready in time; the text has the end of its log
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass

from engines import (
    archives,
    brokers,
    builds,
    clocks,
    config,
    fetch,
    hops,
    join,
    leftovers,
    preflight,
    ready,
    ring,
    supervise,
    tail,
    tools,
    watchers,
    wires,
)
from engines import programs as what
from engines.config import Config
from engines.console import say
from engines.programs import Program
from engines.state import Shape, State
from observability import settings

ASK_EVERY_S = 0.3
ASK_HOPS_EVERY_S = 1.0  # each question takes most of a second of a processor
NEWS_EVERY_S = 5
ONE_SHOT_S = 90
LOG_LINES = 15
STORES = (what.CASSANDRA, what.DOCUMENTS)


class Refused(Exception):
    """Nothing was started; the text says what must be changed first."""


class NotReady(Exception):
    """A part of the system was not ready in time; the text says which, with the end of its log."""


@dataclass(frozen=True)
class Plan:
    """What this start is about: `chosen` is what shall run, `idle` what of it does not run yet."""

    config: Config
    state: State
    env: Mapping[str, str]
    java: str
    documents: str
    programs: tuple[Program, ...]
    chosen: tuple[Program, ...]
    idle: tuple[Program, ...]
    running: bool
    whole: bool

    def of(self, *families: str) -> list[Program]:
        return [program for program in self.idle if program.family in families]

    def room(self, room: str) -> list[Program]:
        return [program for program in self.idle if program.room == room]

    @property
    def awaited(self) -> list[Program]:
        """What must answer before users flow: everything but the watchers."""
        return [program for program in self.chosen if program.room != what.WATCHERS]


def up(outer: Mapping[str, str], only: tuple[str, ...] = ()) -> None:
    """
    Start what does not run yet (of the families `only`, or of all), and wait until it works; then the watchers join.

    The other commands are kept out until users flow, not while watchers are built.

    Raises:
        WrongSetting, Refused, CannotFetch, CannotFormat, CannotSupervise, Held: nothing new was started.
        NotReady: it was started and is left as it is, for a look.
    """
    state = State(config.folder(outer))
    state.make()
    with state.alone():
        plan = made(outer, state, only)
        fetch.fetch((b for b in (*builds.PIPELINE, *builds.DRILLS) if b.name in needed(plan)), plan.java)
        if not plan.running:
            launch(plan)
        start = Start(plan)
        start.run()
    if what.DASHBOARD in families(plan.chosen):
        say(f"the pages are at {pages(plan.config)}")
    told = join.join(plan.room(what.WATCHERS), state, plan.java, start.news)
    if plan.whole:
        with suppress(supervise.NotRunning, supervise.CannotSupervise):  # it is stopped meanwhile
            if archives.begin({name: one.pid for name, one in supervise.processes(state).items()}, state, plan.env):
                say(f"archives of Java's classes are made meanwhile, for quicker starts: {state.log(archives.LOG)}")
    say("\n".join([ending(plan), *(f"Not watched: {sentence}" for sentence in told)]))


def made(outer: Mapping[str, str], state: State, only: tuple[str, ...]) -> Plan:
    """
    Look at what is there and what is asked.

    Raises:
        Refused: something stands in the way.
    """
    running = supervise.alive(state)
    env = config.environ(outer, running=running)
    if running:
        refuse_changes(config.own(env), state.settings())
    elif left := leftovers.marked(state.root):
        say(f"ending what an earlier run left behind: {', '.join(f'pid {one.pid}' for one in left)}")
        leftovers.end(left)
    parsed = settings.read(Config, env)
    java = tools.java(env)
    if java is None:
        raise Refused(tools.no_java(env))
    documents = what.store(parsed, state)
    every = what.programs(parsed, state, java.home, documents)
    if strange := sorted(set(only) - {program.family for program in every}):
        raise Refused(f"{', '.join(strange)}: no such program here; there are {', '.join(families(every))}")
    chosen = tuple(program for program in every if not only or program.family in only)
    now = supervise.processes(state) if running else {}
    idle = tuple(one for one in chosen if one.name not in now or now[one.name].state not in supervise.UNDER_WAY)
    if found := preflight.problems(parsed, state, idle, documents, whole=not only and not running):
        raise Refused("Vigie cannot start:\n" + "\n".join(f"  - {problem}" for problem in found))
    whole_env = what.environment(env, state, java.home)
    return Plan(parsed, state, whole_env, java.home, documents, every, chosen, idle, running, not only)


def refuse_changes(asked: Mapping[str, str], running: Mapping[str, str]) -> None:
    """
    A running system keeps the settings that it was started with.

    Raises:
        Refused: others are asked now.
    """
    changed = sorted(key for key in asked if asked[key] != running.get(key))
    if changed:
        news = ", ".join(f"{key}={asked[key]} (runs with {running.get(key, 'none')})" for key in changed)
        raise Refused(f"it is running with other settings: {news}. make down, then make up")


def families(programs: Iterable[Program]) -> list[str]:
    """The families in their order, each once."""
    return list(dict.fromkeys(program.family for program in programs))


def needed(plan: Plan) -> set[str]:
    """The names of the builds that the idle programs run from."""
    names = set(families(plan.idle))
    return names if plan.documents == what.EMBEDDED else names - {what.DOCUMENTS}


def launch(plan: Plan) -> None:
    """Write every configuration and start the supervisor, with nothing under it yet."""
    state = plan.state
    shape = state.shape() or Shape(plan.config.brokers, plan.documents, brokers.new_cluster())
    state.keep_shape(shape)
    state.keep_settings(config.own(plan.env), config.overrides(plan.env))
    brokers.prepare(plan.config, state)
    ring.prepare(plan.config, state)
    if plan.config.watch:
        watchers.prepare(plan.config, state)
    if plan.config.wires:
        wires.prepare(plan.config, state)
    clocks.prepare(plan.config, state)
    (state.data / plan.documents).mkdir(exist_ok=True)
    supervise.launch(plan.programs, state, plan.env)


class Start:
    """One start, with its clock: everything at once, each step as soon as what it needs answers."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.began = time.monotonic()
        self.given_up = threading.Event()

    def run(self) -> None:
        """
        Start the idle programs, make topics and tables, wait for users; watchers are started if they are built.

        Raises:
            NotReady: the deadline passed, or topics or tables could not be made.
        """
        plan, able = self.plan, join.built(self.plan.room(what.WATCHERS))
        now = [one.name for one in plan.idle if one.room != what.WATCHERS or one in able]
        if now or not plan.idle:
            say(f"starting {', '.join(now)}" if now else "it is running already")
        self.start(plan.of(what.CASSANDRA, what.DOCUMENTS, what.TOXIPROXY))
        self.start_brokers()
        with ThreadPoolExecutor(max_workers=len(plan.awaited) + 2) as pool:
            waits = {one.name: pool.submit(self.program, one) for one in plan.awaited}
            steps = list(waits.values())
            if plan.whole:
                steps.append(pool.submit(self.topics))
                steps.append(pool.submit(self.tables, [waits[name] for name in waits if name in STORES]))
            self.start(plan.room(what.PIPELINE))
            self.start(able)
            try:
                for step in as_completed(steps):
                    step.result()
            except BaseException:
                self.given_up.set()  # or the pool would wait for the other steps until their deadline
                raise
        if plan.whole:
            self.users()

    def start(self, programs: Iterable[Program]) -> None:
        for program in programs:
            supervise.start(self.plan.state, program.name)

    def start_brokers(self) -> None:
        """Format those that are new, then start them."""
        plan, shape = self.plan, self.plan.state.shape()
        idle = plan.of(what.KAFKA)
        if idle and shape is not None:
            brokers.format_new(plan.config, plan.state, plan.java, shape.cluster)
        self.start(idle)

    def program(self, program: Program) -> None:
        """Wait until a program answers and the supervisor has its process."""
        state = self.plan.state
        self.until(lambda: program.answers() and supervise.processes(state)[program.name].pid > 0, program.name)
        if program in self.plan.idle:
            self.news(program.name, "ready")

    def topics(self) -> None:
        """Make the topics as soon as every broker has joined."""
        self.until(lambda: ready.kafka(self.plan.config), "the Kafka cluster")
        self.once("topics", "services.topics")

    def tables(self, stores: Iterable[Future[None]]) -> None:
        """Make the tables and collections as soon as both stores answer."""
        for store in stores:
            store.result()
        self.once("tables", "spark.stores")

    def once(self, name: str, module: str) -> None:
        """
        Run a preparation to its end.

        Raises:
            NotReady: it failed, or took too long.
        """
        if self.given_up.is_set():
            return
        command = [sys.executable, "-m", module]
        try:
            subprocess.run(
                command, cwd=settings.ROOT, env=dict(self.plan.env), capture_output=True, timeout=ONE_SHOT_S, check=True
            )
        except subprocess.CalledProcessError as error:
            raise NotReady(f"{name}: python -m {module} failed:\n{error.stderr.decode(errors='replace')}") from error
        except subprocess.TimeoutExpired as error:
            raise NotReady(f"{name}: python -m {module} took more than {ONE_SHOT_S} s") from error
        self.news(name, "made")

    def users(self) -> None:
        """Wait until users that were fetched now are in both stores."""
        conf, first, said = self.plan.config, hops.read(self.plan.env), time.monotonic()

        def flowing() -> bool:
            nonlocal said
            late = time.monotonic() - said > NEWS_EVERY_S
            if not late and not ready.lanes(conf.host, conf.spark_metrics_port):
                return False  # no batch yet: the stores are hardly asked in vain
            now = hops.read(self.plan.env)
            if late:
                said = time.monotonic()
                self.news("users", ", ".join(f"{name} {hops.text(now.get(name))}" for name in hops.AT_START))
            return hops.flows(first, now)

        if not hops.flows(first, first):  # a source that has sent everything
            self.until(flowing, "users in both stores", every_s=ASK_HOPS_EVERY_S)
        self.news("users", "are in both stores")

    def until(self, so: Callable[[], bool], name: str, every_s: float = ASK_EVERY_S) -> None:
        """
        Ask again and again until it is so, or until another step has given up.

        Raises:
            NotReady: the deadline has passed.
        """
        while not self.given_up.is_set() and not so():
            if self.seconds() > self.plan.config.up_timeout_s:
                raise NotReady(self.late(name))
            self.given_up.wait(every_s)

    def late(self, name: str) -> str:
        """What to say when `name` is not ready: its state, and the end of the log where the reason may stand."""
        state = self.plan.state
        now = supervise.processes(state)
        suspects = [name] if name in now else [one.name for one in self.plan.chosen if one.room == what.PIPELINE]
        logs = "\n".join(
            f"--- {suspect} ({now[suspect].state}), the end of {state.log(suspect)}\n"
            + "\n".join(tail.last(state.log(suspect), LOG_LINES))
            for suspect in suspects
        )
        return f"{name}: not ready after {self.plan.config.up_timeout_s} s (VIGIE_UP_TIMEOUT_S)\n{logs}"

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def news(self, name: str, text: str) -> None:
        say(f"  {self.seconds():5.1f} s  {name:<12} {text}")


def pages(conf: Config) -> str:
    return f"http://{conf.host}:{conf.dashboard_port}"


def ending(plan: Plan) -> str:
    """Where everything that was asked for is, and what to try next."""
    conf = plan.config
    places = {
        what.DASHBOARD: pages(conf),
        what.SPARK: f"http://{conf.host}:{conf.spark_ui_port}",
        what.SIMULATOR: f"http://{conf.host}:{conf.simulator_admin_port}",
        what.KAFKA: conf.kafka_bootstrap,
        what.CASSANDRA: f"{conf.cassandra_hosts}:{conf.cassandra_port}",
        what.DOCUMENTS: conf.mongo_uri,
        what.PROMETHEUS: f"http://{conf.host}:{conf.prometheus_port}",
        what.ALERTMANAGER: f"http://{conf.host}:{conf.alertmanager_port}",
        what.JAEGER: f"http://{conf.host}:{conf.jaeger_port}",
    }
    lines = [f"  {name:<12} {place}" for name, place in places.items() if name in families(plan.chosen)]
    return "\n".join(["Vigie is up.", *lines, "Next: make status, make logs WHAT=spark, make audit, make down"])
