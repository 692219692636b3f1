"""
The wires between programs: slowed, reset, cut and mended, by Toxiproxy's API (a system started with VIGIE_WIRES=1).

`wires` are names, or beginnings of names: `ingest-kafka` is all three of `ingest-kafka-1` to `-3`, `spark` everything
that Spark reaches, an empty one all. The names are those of engines/wires.py.

    NoWires         the system has none, or none of that name
"""

from collections.abc import Iterable, Sequence
from typing import Any

import requests

ANSWER_S = 5.0
DOWN, UP = "downstream", "upstream"


class NoWires(Exception):
    """The system was not started with VIGIE_WIRES=1, or has no wire of that name; the text says which."""


def slow(api: str, wires: Sequence[str], milliseconds: int, jitter: int = 0) -> list[str]:
    """Let every answer on these wires come so much later; return the wires."""
    toxic = {"name": "slow", "type": "latency", "stream": DOWN}
    return _poison(api, wires, [toxic | {"attributes": {"latency": milliseconds, "jitter": jitter}}])


def reset(api: str, wires: Sequence[str], share: float) -> list[str]:
    """Reset this share of the connections there are, and of those that are made until `mend`; return the wires."""
    toxic = {"name": "reset", "type": "reset_peer", "stream": UP, "toxicity": share}
    return _poison(api, wires, [toxic | {"attributes": {"timeout": 0}}])


def part(api: str, wires: Sequence[str]) -> list[str]:
    """A partition: connections stay and new ones are made, but nothing passes either way; return the wires."""
    both = [{"name": f"part-{way}", "type": "timeout", "stream": way} for way in (DOWN, UP)]
    return _poison(api, wires, [one | {"attributes": {"timeout": 0}} for one in both])


def cut(api: str, wires: Sequence[str]) -> list[str]:
    """Connections end, new ones are refused; return the wires."""
    found = named(api, wires)
    for name in found:
        _ask(api, "POST", f"proxies/{name}", {"enabled": False})
    return found


def mend(api: str) -> None:
    """All wires are whole again, with nothing on them."""
    _ask(api, "POST", "reset")


def named(api: str, wires: Iterable[str]) -> list[str]:
    """
    The wires whose names begin so.

    Raises:
        NoWires: there are none.
    """
    there = sorted(_ask(api, "GET", "proxies"))
    found = [name for name in there if name.startswith(tuple(wires))]
    if not found:
        raise NoWires(f"{', '.join(wires)}: no such wire; there are {', '.join(there)}")
    return found


def _poison(api: str, wires: Sequence[str], toxics: Iterable[dict[str, Any]]) -> list[str]:
    found = named(api, wires)
    for name in found:
        had = {one["name"] for one in _ask(api, "GET", f"proxies/{name}/toxics")}
        for toxic in toxics:
            if toxic["name"] in had:  # the dice are thrown anew, also for connections that are there
                _ask(api, "DELETE", f"proxies/{name}/toxics/{toxic['name']}")
            _ask(api, "POST", f"proxies/{name}/toxics", toxic)
    return found


def _ask(api: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    try:
        answer = requests.request(method, f"{api}/{path}", json=body, timeout=ANSWER_S)
    except requests.ConnectionError as error:
        raise NoWires(f"{api} does not answer: make up VIGIE_WIRES=1") from error
    answer.raise_for_status()
    return answer.json() if answer.content else None
