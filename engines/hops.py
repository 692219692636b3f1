"""How many users each hop has counted, as `python -m services.hops --json` tells; a hop that is silent is None."""

import json
import subprocess
import sys
from collections.abc import Mapping

from observability.settings import ROOT

PATIENCE_S = 30
STORED, SUMMED = "stored", "summed"
AT_START = ("fetched", "acknowledged", STORED, SUMMED)  # what `make up` shows while it waits

Hops = dict[str, float | None]


def read(env: Mapping[str, str]) -> Hops:
    """The hops as they are now, in the order of the flow; empty when the question fails."""
    command = [sys.executable, "-m", "services.hops", "--json"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=dict(env), capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
        hops: Hops = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError):
        return {}
    return hops


def flows(before: Hops, now: Hops) -> bool:
    """Whether users reach both stores: each has more than before, or has all that the source has sent."""
    ends = [(before.get(name) or 0, now.get(name) or 0) for name in (STORED, SUMMED)]
    drained = now.get("on_topic") == now.get("read_raw") == now.get("read_stats")
    return all(new > old or (drained and new > 0) for old, new in ends)


def text(hop: float | None) -> str:
    """A count for a person: thousands apart, a dash for what is unknown."""
    return "-" if hop is None else f"{hop:,.0f}"
