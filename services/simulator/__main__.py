"""
Run the stand-in for the Random User API until SIGTERM: `python -m services.simulator`.

Two ports: the API on VIGIE_HOST, and on VIGIE_SIMULATOR_ADMIN_HOST (loopback) an admin port where faults are switched
while it runs.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec

from observability import logs, metrics, names, telemetry
from observability.settings import WrongSetting, environ, read
from services.simulator.admin import AdminListener
from services.simulator.faults import KINDS, Board
from services.simulator.ledger import Journal, Limit
from services.simulator.server import ApiListener, Simulator
from services.simulator.web import Listener

log = logs.Log(__name__)

L = TypeVar("L", bound=Listener)
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]

HELP = f"""\
An offline stand-in for the Random User API (1.4): the same seed and page give the same users, for ever.

  API    http://VIGIE_HOST:VIGIE_SIMULATOR_PORT/api/?seed=vigie&page=1&results=100&nat=fr,ua
  admin  http://VIGIE_SIMULATOR_ADMIN_HOST:VIGIE_SIMULATOR_ADMIN_PORT/  (a port of 0 takes a free one)
         GET /health   GET /journal   GET /faults   PUT /faults   DELETE /faults

Each client may have VIGIE_SIMULATOR_LIMIT_USERS users in VIGIE_SIMULATOR_LIMIT_WINDOW_S seconds (0 users: no limit).
PUT /faults takes a JSON object, each fault with its options and, if wanted, a `rate` of 0 to 1 and a number of `times`:

  curl -X PUT localhost:8091/faults -d '{{"status": {{"code": 503, "times": 3}}, "latency": {{"seconds": 0.5}}}}'

The faults: {", ".join(KINDS)}.
"""


class PortUnavailable(Exception):
    """A port cannot be listened on; the text names the port and its setting."""


@dataclass(frozen=True)
class Settings:
    """The simulator's settings; a limit of 0 users is no limit."""

    host: str
    simulator_port: Port
    simulator_admin_host: Annotated[str, msgspec.Meta(min_length=1)]
    simulator_admin_port: Port
    simulator_limit_users: Annotated[int, msgspec.Meta(ge=0)]
    simulator_limit_window_s: Annotated[float, msgspec.Meta(gt=0)]


def listen(setting: str, host: str, port: int, listener: Callable[[], L]) -> L:
    """
    Open the listener of a setting's port.

    Raises:
        PortUnavailable: something else has the port, or the host is not an address of this machine.
    """
    try:
        return listener()
    except OSError as error:
        raise PortUnavailable(f"{setting}={port}: cannot listen on {host}:{port}: {error.strerror}") from error


def of_simulator(simulator: Simulator) -> Iterator[metrics.Sample]:
    """What is read at every scrape."""
    yield names.SIMULATOR_USERS, {}, simulator.journal.users
    for status, n in simulator.journal.statuses().items():
        yield names.SIMULATOR_REQUESTS, {"status": str(status)}, n
    yield names.SIMULATOR_FAULTS, {}, len(simulator.board.on())


def begin(env: Mapping[str, str]) -> Settings:
    """
    Read the settings; then start logs and metrics. There are no spans: this stands for a source that is not ours.

    Raises:
        WrongSetting: a setting is missing or wrong.
    """
    settings = read(Settings, env)
    telemetry.start("simulator", env)
    return settings


def serve(settings: Settings) -> None:
    """
    Answer on both ports, for ever.

    Raises:
        PortUnavailable: one of the two ports cannot be had.
    """
    limit = Limit(settings.simulator_limit_users, settings.simulator_limit_window_s, time.monotonic)
    simulator = Simulator(limit, Board(), Journal())
    metrics.read_at_scrape(lambda: of_simulator(simulator))
    host, port = settings.host, settings.simulator_port
    admin_host, admin_port = settings.simulator_admin_host, settings.simulator_admin_port
    api = listen("VIGIE_SIMULATOR_PORT", host, port, lambda: ApiListener(host, port, simulator))
    admin = listen(
        "VIGIE_SIMULATOR_ADMIN_PORT",
        admin_host,
        admin_port,
        lambda: AdminListener(admin_host, admin_port, simulator, host),
    )
    threading.Thread(target=admin.serve_forever, daemon=True).start()
    log.info("listening", api=f"http://{host}:{api.port}/api/", admin=f"http://{admin_host}:{admin.port}")
    api.serve_forever()


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    argparse.ArgumentParser(
        prog="python -m services.simulator", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    try:
        serve(begin(environ()))
    except (WrongSetting, PortUnavailable) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
