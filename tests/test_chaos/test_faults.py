"""What the source's faults do to a real simulator: each page comes as often as it was asked to, and comes itself."""

import threading
import time
from collections.abc import Callable

import pytest
import requests

from chaos import faults, programs, target
from engines.state import State
from observability import settings

Aimed = dict[str, target.Target]


@pytest.fixture
def aimed(simulator, tmp_path) -> Aimed:
    port = simulator.admin.rsplit(":", 1)[1]
    env = settings.environ({"VIGIE_STATE": str(tmp_path), "VIGIE_SIMULATOR_ADMIN_PORT": port}, running=False)
    made = target.Target(env, settings.read(target.Settings, env), programs.Supervised(State(tmp_path)))
    return {target.KEY: made}


def meanwhile(do: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    return thread


def test_each_page_comes_five_times_and_then_itself(simulator, aimed: Aimed):
    seed, page, first = "again", 1, {}
    storm = meanwhile(lambda: faults.pages_again(5, 6, aimed))
    came: dict[int, int] = {}
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        users = simulator.get(f"seed={seed}&page={page}&results=2").json()["results"]
        own = users[0]["login"]["uuid"]
        if own in first.values():
            came[page] = came.get(page, 0) + 1
            time.sleep(0.05)
            continue
        first[page], page = own, page + 1
        armed_by = min(ends, time.monotonic() + 2)
        while not simulator.faults() and time.monotonic() < armed_by:
            time.sleep(0.02)
    storm.join()
    repeats = [came[n] for n in sorted(came)][1:-1]
    assert len(repeats) > 3
    assert set(repeats) == {4}
    assert simulator.faults() == {}


def test_faults_in_turn_end_with_none(simulator, aimed: Aimed):
    kinds = [{"status": {"code": 500}}, {"empty": {}}]
    turn = meanwhile(lambda: faults.source_in_turn(kinds, 1.0, aimed))
    seen = []
    while turn.is_alive():
        seen.append(tuple(simulator.faults()))
        time.sleep(0.05)
    assert [one for one in dict.fromkeys(seen) if one] == [("status",), ("empty",)]
    assert simulator.faults() == {}


def test_a_fault_that_the_simulator_does_not_know_fails_the_action(aimed: Aimed):
    with pytest.raises(requests.HTTPError):
        faults.source({"no_such_fault": {}}, aimed)


def test_a_large_record_is_as_large_as_asked(simulator, aimed: Aimed):
    faults.large_record(300, aimed)
    body = simulator.get("seed=large&page=1&results=2").content
    faults.source({}, aimed)
    assert len(body) > 300 * 1024
