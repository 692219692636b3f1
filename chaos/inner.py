"""
The actions of experiments that reach into one program: its kill points, its wires, its disk, its clock, its checkpoint.

What they need of the system is said where they fail: wires are there with VIGIE_WIRES=1, a clock with VIGIE_CLOCKS.
`undo` is the rollback of every experiment that uses them.
"""

import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import psutil

from chaos import clock, disk, points, target
from chaos import wires as of_wires
from chaos.faults import there, tried
from chaos.programs import until
from chaos.target import Target
from engines import clocks, supervise
from observability import settings
from services import hops
from spark.contract import KEYSPACE, KILLED

Configuration = Mapping[str, Any] | None

REACHED_S, AGAIN_S, SHAKE_EVERY_S = 60, 60, 5
REBUILD_S = 280


def die(point: str, death: str = KILLED, configuration: Configuration = None) -> str:
    """The Spark driver dies at this point of its next batch; return when it is started again."""
    state = target.of(configuration).state
    before = supervise.pid(state, "spark")
    points.arm(state, point, death)
    until(lambda: not points.armed(state), f"the driver should come to {point}", REACHED_S)
    until(lambda: supervise.pid(state, "spark") not in (0, before), "spark should be started again", AGAIN_S)
    return f"the driver was {death} at {point}"


def slow(wires: list[str], milliseconds: int, configuration: Configuration = None) -> str:
    """Every answer on these wires comes so much later, until `mend`."""
    return f"slow: {', '.join(of_wires.slow(_api(target.of(configuration)), wires, milliseconds))}"


def shake(wires: list[str], share: float, seconds: float, configuration: Configuration = None) -> str:
    """For so many seconds this share of all connections is reset, every few seconds anew, and of all that are made."""
    api, ends = _api(target.of(configuration)), time.monotonic() + seconds
    while time.monotonic() < ends:
        found = of_wires.reset(api, wires, share)
        time.sleep(SHAKE_EVERY_S)
    return f"{share:.0%} of connections reset: {', '.join(found)}"


def part(wires: list[str], configuration: Configuration = None) -> str:
    """Nothing passes on these wires, and nobody is told, until `mend`."""
    return f"parted: {', '.join(of_wires.part(_api(target.of(configuration)), wires))}"


def mend(configuration: Configuration = None) -> str:
    """All wires are whole."""
    of_wires.mend(_api(target.of(configuration)))
    return "all wires are whole"


def fill_disk(program: str = "ingest", configuration: Configuration = None) -> str:
    """Every write of this program to a file is refused, until `clear_disk`."""
    return f"pid {disk.fill(target.of(configuration).state, program)} of {program} may not write"


def clear_disk(program: str = "ingest", configuration: Configuration = None) -> str:
    return f"pid {disk.clear(target.of(configuration).state, program)} of {program} may write"


def shift_clock(program: str, seconds: int, configuration: Configuration = None) -> str:
    """This program's time of day is so many seconds ahead of the others', within two seconds; 0 is right."""
    clock.shift(target.of(configuration).state, program, seconds)
    return f"the clock of {program} is {seconds:+d} s off"


def damage_checkpoint(lane: str, configuration: Configuration = None) -> str:
    """Every file of a stopped lane's offsets is zeros; `undo` sets it aside, if `lose_checkpoint` has not."""
    aimed = target.of(configuration)
    aimed.owed[lane] = partial(replace_checkpoint, aimed, lane)
    files = list((_checkpoint(aimed, lane) / "offsets").iterdir())
    for file in files:
        file.write_bytes(bytes(40))
    return f"{len(files)} files of the {lane} lane's checkpoint are zeros"


def lose_checkpoint(lane: str, configuration: Configuration = None) -> str:
    """A stopped lane's checkpoint is set aside, as an operator does with one that is damaged: the lane has none."""
    aimed = target.of(configuration)
    said = _run(aimed, "spark.lanes", "--set-checkpoint-aside", lane)
    aimed.owed.pop(lane, None)
    return said


def replace_checkpoint(aimed: Target, lane: str) -> None:
    """The damaged one is set aside while Spark rests; the rollback starts it again."""
    with suppress(supervise.CannotSupervise):  # it has ended
        aimed.programs.stop("spark")
    lose_checkpoint(lane, {target.KEY: aimed})


def lose_sums(configuration: Configuration = None) -> str:
    """Cassandra's minutes, days and totals are gone; `undo` rebuilds them, if `rebuild` has not."""
    aimed = target.of(configuration)
    aimed.owed["sums"] = partial(rebuild, {target.KEY: aimed})
    session = hops.cassandra(aimed.settings, patience_s=60)
    try:
        for table in ("stats_by_minute", "totals"):
            session.execute(f"TRUNCATE {KEYSPACE}.{table}")
    finally:
        session.cluster.shutdown()
    return "no sum is left"


def rebuild(configuration: Configuration = None) -> str:
    """`make rebuild`."""
    aimed = target.of(configuration)
    said = _run(aimed, "engines", "without", "spark", sys.executable, "-m", "spark.rebuild")
    aimed.owed.pop("sums", None)
    return said


def undo(configuration: Configuration = None) -> str:
    """
    No point is armed, all wires are whole, every program may write, all clocks are right, no checkpoint is damaged and
    no sum is gone.

    Raises:
        RuntimeError: not all of it could be undone; the text says what, and the rest is.
    """
    aimed = target.of(configuration)
    if not aimed.broken:
        return "nothing was broken"
    wrong = [
        tried(lambda _: points.disarm(aimed.state), "kill points", "disarm"),
        tried(lambda _: whole(aimed), "wires", "mend"),
    ]
    for program in there(aimed):
        wrong.append(tried(partial(writing, aimed), program, "let write"))
        if clocks.file(aimed.state, program).is_file():
            wrong.append(tried(lambda name: clock.shift(aimed.state, name, 0), program, "set the clock of"))
    wrong += [tried(lambda name: aimed.owed[name](), name, "mend") for name in list(aimed.owed)]
    if left := [one for one in wrong if one]:
        raise RuntimeError("; ".join(left))
    return "no point is armed; wires, disks, clocks, checkpoints and sums are right"


def whole(aimed: Target) -> None:
    with suppress(of_wires.NoWires):
        of_wires.mend(_api(aimed))


def writing(aimed: Target, program: str) -> None:
    with suppress(psutil.NoSuchProcess, AttributeError):  # it does not run; not Linux
        disk.clear(aimed.state, program)


def _api(aimed: Target) -> str:
    return f"http://{aimed.settings.host}:{aimed.env['VIGIE_WIRES_PORT']}"


def _checkpoint(aimed: Target, lane: str) -> Any:
    return aimed.state.data / "checkpoints" / lane


def _run(aimed: Target, *words: str) -> str:
    """
    Run `python -m …` against the system.

    Raises:
        RuntimeError: it failed, with the end of what it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=settings.ROOT,
        env=dict(aimed.env),
        capture_output=True,
        text=True,
        timeout=REBUILD_S,
        check=False,
    )
    said = (done.stdout + done.stderr).strip()
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {said[-1000:]}")
    return said[-300:]
