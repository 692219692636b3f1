"""`down`: everything of one state folder ends, in the order of the flow; only its data and logs are left."""

import time
from collections.abc import Mapping

from engines import config, leftovers, programs, supervise
from engines.console import say
from engines.state import State


class StillThere(Exception):
    """A process of ours could not be ended; the text says which."""


def down(outer: Mapping[str, str]) -> None:
    """
    Stop what lets users in, then the pipeline, the watchers, the engines; end what a killed supervisor left; clear up.

    Raises:
        Held: another start or stop is at work.
        StillThere: a process outlived its kill.
    """
    state = State(config.folder(outer))
    if not state.root.is_dir():
        say("not running: there is no state yet")
        return
    with state.alone():
        began = time.monotonic()
        stopped = stop_all(state)
        left = leftovers.marked(state.root)
        if left:
            stubborn = leftovers.end(left)
            if stubborn:
                raise StillThere(f"could not be ended: {', '.join(f'pid {one.pid}' for one in stubborn)}")
            say(f"  ended what was left: {', '.join(f'pid {one.pid}' for one in left)}")
        forgotten = dropped(config.given(state.overrides(), outer), outer)
        state.clear()
        if stopped or left:
            say(f"down after {time.monotonic() - began:.0f} s; data and logs stay in {state.root}{forgotten}")
        else:
            say(f"not running{forgotten}")


def dropped(given: Mapping[str, str], outer: Mapping[str, str]) -> str:
    """A line for the settings that the next start will not have; of an address no more than that there was one."""
    lost = {key: value for key, value in sorted(given.items()) if outer.get(key) != value}
    words = " ".join(f"{key}={'…' if '://' in value else value}" for key, value in lost.items())
    return f"\nit was started with {words}: give them again with make up" if words else ""


def stop_all(state: State) -> bool:
    """Stop every program under the supervisor, then the supervisor; whether there was one."""
    if not supervise.alive(state):
        return False
    now = supervise.processes(state)
    for families in programs.STOPPING:
        names = [name for name in now if name.rstrip("-0123456789") in families and now[name].pid]
        if names:
            began = time.monotonic()
            supervise.stop(state, *names)
            say(f"  stopped {', '.join(names)} in {time.monotonic() - began:.1f} s")
    supervise.shut_down(state)
    return True
