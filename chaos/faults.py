"""
The actions of experiments: each makes one fault, or ends it, and returns a sentence that the journal keeps.

    {"type": "python", "module": "chaos.faults", "func": "kill", "arguments": {"programs": ["kafka-2"]}}
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import psutil
import requests
from kafka import KafkaProducer

from chaos import target
from chaos.programs import PATIENCE_S, CannotBreak, until
from chaos.target import Target
from engines import brokers, leftovers, supervise, tools
from engines.config import Config
from observability import settings
from services import topics
from services.contract import USERS

Configuration = Mapping[str, Any] | None
UP_S = 300
ASKED = 5


def hold(seconds: float) -> str:
    """The fault lasts so long."""
    time.sleep(seconds)
    return f"held {seconds:g} s"


def kill(programs: list[str], configuration: Configuration = None) -> str:
    """`kill -9`, all at once; they stay away until they are started."""
    return each(target.of(configuration).programs.kill, programs, "killed")


def strike(programs: list[str], configuration: Configuration = None) -> str:
    """`kill -9`, all at once; their keeper starts them again."""
    return each(target.of(configuration).programs.strike, programs, "struck")


def stop(programs: list[str], configuration: Configuration = None) -> str:
    """Asked to end, all at once; they stay away until they are started."""
    return each(target.of(configuration).programs.stop, programs, "stopped")


def start(programs: list[str], configuration: Configuration = None) -> str:
    return each(target.of(configuration).programs.start, programs, "started")


def freeze(programs: list[str], configuration: Configuration = None) -> str:
    return each(target.of(configuration).programs.freeze, programs, "frozen")


def thaw(programs: list[str], configuration: Configuration = None) -> str:
    return each(target.of(configuration).programs.thaw, programs, "thawed")


def each(do: Any, programs: list[str], word: str) -> str:
    """Do it to all of them at once."""
    with ThreadPoolExecutor(len(programs)) as pool:
        list(pool.map(do, programs))
    return f"{word} {', '.join(programs)}"


def source(faults: dict[str, Any], configuration: Configuration = None) -> str:
    """The simulator does this from now on (services/simulator/faults.py lists what it can); `{}` is nothing."""
    answer = requests.put(f"{target.of(configuration).settings.simulator}/faults", json=faults, timeout=5)
    answer.raise_for_status()
    return f"the source: {json.dumps(faults)[:200]}"


def source_in_turn(faults: list[dict[str, Any]], seconds: float, configuration: Configuration = None) -> str:
    """Each of these for so many seconds, one after the other; then none."""
    for one in faults:
        source(one, configuration)
        if target.of(configuration).stopped.wait(seconds):
            break
    return source({}, configuration)


def pages_again(times: int, seconds: float, configuration: Configuration = None) -> str:
    """
    For so many seconds each page comes so many times: the one before is sent in its place until its turn has come.

    The page itself has to come between two rounds: a source that never sends it is believed at last. So what was served
    is looked at again after each order: a page may have gone before the order came.
    """
    aimed = target.of(configuration)
    address = aimed.settings.simulator
    ends, pages, last = time.monotonic() + seconds, 0, -1
    while time.monotonic() < ends and not aimed.stopped.is_set():
        if served(address) > last and "repeat_page" not in requests.get(f"{address}/faults", timeout=5).json():
            source({"repeat_page": {"honest": False, "times": times - 1}}, configuration)
            pages, last = pages + 1, served(address)
        time.sleep(0.05)
    source({}, configuration)
    return f"{pages} pages came {times} times"


def served(address: str) -> int:
    """The last page that the simulator has sent."""
    journal = requests.get(f"{address}/journal", timeout=5).json()
    return max((one["page"] for one in journal["pages"]), default=0)


def large_record(kilobytes: int, configuration: Configuration = None) -> str:
    """The first user of every page has a name of so many kilobytes."""
    return source({"set_field": {"path": "name.first", "value": "x" * kilobytes * 1024}}, configuration)


def poison(messages: int, kilobytes: int = 0, configuration: Configuration = None) -> str:
    """Somebody sends so many messages to users.raw that are no users, among those that are; small, or so large."""
    wanted = target.of(configuration).settings
    kinds = [b"not json", b"", b"\xff\xfe\x00", b"[1, 2", b"{}", b'{"v": 99}', b"null", b"x" * 4096]
    if kilobytes:
        kinds = [b"x" * kilobytes * 1024]
    producer = topics.opened(KafkaProducer, **wanted.kafka(), acks="all", max_request_size=8 * 2**20)
    try:
        sent = [producer.send(USERS, kinds[n % len(kinds)], f"poison {n}".encode()) for n in range(messages)]
        producer.flush(timeout=30)
        for one in sent:
            one.get(timeout=10)
    finally:
        producer.close(timeout=5)
    return f"{messages} messages that are no users"


def lose_data(broker: int, configuration: Configuration = None) -> str:
    """A broker that does not run loses its disk: its folder is removed, and formatted as a new one's is."""
    aimed = target.of(configuration)
    state, shape = aimed.state, aimed.state.shape()
    until(lambda: aimed.programs.states()[f"kafka-{broker}"] in supervise.ENDED, f"kafka-{broker} should be gone")
    shutil.rmtree(brokers.folder(state, broker))
    config, java = settings.read(Config, aimed.env), tools.java(aimed.env)
    if shape is None or java is None:
        raise RuntimeError(f"{state.root}: not a system that was started here")
    brokers.format_new(config, state, java.home, shape.cluster)
    return f"the folder of kafka-{broker} is new and empty"


def kill_everything(configuration: Configuration = None) -> str:
    """`kill -9` of the supervisor and of all its processes, frozen first so that none sees another go."""
    aimed = target.of(configuration)
    marked = [process for process in leftovers.marked(aimed.state.root) if process.pid != os.getpid()]
    for process in marked:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    for process in marked:
        leftovers.tell(process, kill=True)
    psutil.wait_procs(marked, timeout=PATIENCE_S)
    return f"{len(marked)} processes are dead"


def up(configuration: Configuration = None) -> str:
    """`make up`, as an operator would after a power failure; it takes no more than what is not running."""
    aimed = target.of(configuration)
    command = [sys.executable, "-m", "engines", "up"]
    done = subprocess.run(
        command, cwd=settings.ROOT, env=dict(aimed.env), capture_output=True, text=True, timeout=UP_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"make up failed: {(done.stdout + done.stderr)[-1000:]}")
    return "it is up"


def restore(configuration: Configuration = None) -> str:
    """
    The rollback of every drill: nothing is frozen, everything is started, the source has no faults.

    Raises:
        RuntimeError: not all of it could be put back; the text says what, and the rest is.
    """
    aimed = target.of(configuration)
    if not aimed.broken:
        return "nothing was broken"
    names = there(aimed)
    if not names and not aimed.settings.compose_project:
        up(configuration)
        names = there(aimed)
    wrong = [] if names else ["nobody says which programs there are"]
    wrong += [tried(aimed.programs.thaw, name, "thaw") for name in names]
    wrong.append(tried(lambda _: faultless(configuration), "the source", "clear"))
    wrong += [tried(partial(started, aimed), name, "start") for name in names]
    if left := [one for one in wrong if one]:
        raise RuntimeError("; ".join(left))
    return "everything is started, nothing is frozen"


def there(aimed: Target) -> list[str]:
    """The programs, if there is anybody who knows them; whoever does may be late with the answer."""
    for _ in range(ASKED):
        try:
            return list(aimed.programs.states())
        except supervise.NotRunning:
            return []
        except CannotBreak:
            time.sleep(1)
    return []


def tried(do: Callable[[str], object], name: str, word: str) -> str:
    """Do it; what stood in the way, in a sentence, so that what comes after is done all the same."""
    try:
        do(name)
    except Exception as error:  # noqa: BLE001 whatever it is, the rest has to be put back
        return f"could not {word} {name}: {type(error).__name__}: {error}"
    return ""


def started(aimed: Target, name: str) -> None:
    """A program that is still ending cannot be started; one that its keeper starts at this moment need not be."""
    until(lambda: aimed.programs.states()[name] != supervise.STOPPING, f"{name} should have ended", PATIENCE_S)
    with suppress(supervise.CannotSupervise):
        aimed.programs.start(name)
    until(lambda: aimed.programs.states()[name] not in supervise.ENDED, f"{name} should be started", PATIENCE_S)


def faultless(configuration: Configuration) -> None:
    with suppress(requests.ConnectionError):  # another source has no faults of ours, and a new simulator has none
        source({}, configuration)
