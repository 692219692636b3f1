"""
The probes of experiments: each says "ok", or in a sentence what is not; a hypothesis tolerates "ok" alone.

The steady state: every program runs, every target of Prometheus is up, the promise of freshness holds, and every user
is where they must be, once.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import requests
from chaoslib.exceptions import ActivityFailed

from chaos import target, verdict, watch
from chaos.evidence import collect
from chaos.programs import CannotBreak
from chaos.target import Target
from engines import supervise
from services.audit import NotFollowed
from services.hops import SILENT

OK = "ok"
FRESH_S = 10.0  # docs/slo.md: a user is in both stores within 10 s of the fetch
MINUTE_S = 60.0
LOOKED_AT_S = verdict.LATE_S + verdict.HELD_S  # who is fetched in the last of it could be late again, and be seen
STEADY_S = 4.0  # the promise holds again when it has held so long

Configuration = Mapping[str, Any] | None


def everything_runs(patience_s: float = 60, configuration: Configuration = None) -> str:
    """Whether every program runs, every target answers Prometheus, and no partition lacks a replica."""
    aimed = target.of(configuration)
    return patient(lambda: stopped(aimed) or deaf(aimed), patience_s)


def stopped(aimed: Target) -> str:
    """The programs that do not run."""
    try:
        found = [f"{name} is {word}" for name, word in aimed.programs.states().items() if word != supervise.RUNNING]
    except (supervise.NotRunning, CannotBreak) as error:
        return str(error)
    return ", ".join(found)


def deaf(aimed: Target) -> str:
    """The targets that Prometheus does not reach, and the topics that lack replicas in step."""
    try:
        down = watch.query(aimed.settings.prometheus, "up == 0")
        behind = watch.query(aimed.settings.prometheus, 'sum by (topic) (vigie_kafka_partitions{health!="all"}) > 0')
    except (requests.RequestException, ValueError, KeyError) as error:
        return f"Prometheus does not answer: {type(error).__name__}"
    found = [f"{one['metric']['job']} does not answer Prometheus" for one in down]
    return ", ".join(sorted([*found, *(f"{one['metric']['topic']} lacks replicas" for one in behind)]))


def promise_held(patience_s: float = 60, configuration: Configuration = None) -> str:
    """Whether the newest users of both stores are as young as was promised, and none waits longer in the outbox."""
    aimed = target.of(configuration)
    return patient(lambda: late(aimed), patience_s, STEADY_S)


def late(aimed: Target) -> str:
    """What is later than promised now."""
    if aimed.watch is None:
        return "nobody watches"
    found = []
    for source in (watch.MONGODB, watch.CASSANDRA, watch.OUTBOX):
        said = aimed.watch.last(source)
        if said is None:
            found.append(f"{source} does not answer")
        elif said.get("age", FRESH_S + 1) > FRESH_S:
            found.append(f"{source}: {said['age']:.0f} s" if "age" in said else f"{source}: nobody")
    return ", ".join(found)


def users_agree(patience_s: float = 90, configuration: Configuration = None) -> str:
    """Whether every user who must exist is stored and summed once, and nobody else is."""
    aimed = target.of(configuration)
    last = aimed.evidence[-1] if aimed.evidence else None
    if last is None or aimed.broken:
        hold(aimed)
        try:
            last = collect(aimed.settings, patience_s, last.documents if last and aimed.followed else ())
        except (*SILENT, NotFollowed) as error:
            return f"{type(error).__name__}: {str(error)[:300]}"
        aimed.evidence.append(last)
    return verdict.users(last, aimed.evidence[0]).sentence() or OK


def hold(aimed: Target) -> None:
    """
    Wait after a fault until it can be told that nobody was late again, and all that it touched can be compared.

    Sums are compared by whole minutes: the minute in which it ended must be over, or another drill follows, at whose
    end it is.
    """
    until = aimed.again_at + LOOKED_AT_S
    if aimed.again_at and not aimed.followed:
        until = max(until, (aimed.again_at // MINUTE_S + 1) * MINUTE_S + 1)
    time.sleep(max(0.0, until - time.time()))


def promise_again(configuration: Configuration = None) -> str:
    """
    The end of every method: wait until everything runs and the promise holds again.

    Raises:
        ActivityFailed: it does not in time.
    """
    aimed = target.of(configuration)
    said = patient(lambda: late(aimed) or stopped(aimed), aimed.patience_s, STEADY_S)
    aimed.again_at = time.time()
    if said != OK:
        raise ActivityFailed(f"not within {aimed.patience_s:.0f} s: {said}")
    return said


def patient(wrong: Callable[[], str], patience_s: float, steady_s: float = 0.0) -> str:
    """OK once nothing has been wrong for `steady_s` in a row, else what is after `patience_s`."""
    ends = time.monotonic() + patience_s
    well_since: float | None = None
    while True:
        said, now = wrong(), time.monotonic()
        well_since = None if said else (well_since or now)
        if well_since is not None and now - well_since >= steady_s:
            return OK
        if now > ends and said:
            return said
        time.sleep(0.3)
