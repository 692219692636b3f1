"""The ingestion process: what it says of wrong settings, and what it keeps while its neighbours are gone."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from observability import names
from services.contract import USERS, encode
from services.ingest import Pace
from services.outbox import Outbox
from services.outbox_file import outbox_path
from services.simulator.people import ids
from services.source import generation_of, parted

NOBODY = "127.0.0.1:1"  # no broker listens there


def environment(state: Path, **settings: str) -> dict[str, str]:
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    quick = {"VIGIE_KAFKA_BOOTSTRAP": NOBODY, "VIGIE_PAGE_SIZE": "20", "VIGIE_RATE": "0", "VIGIE_SEED": "tests"}
    quick |= {"VIGIE_INGEST_METRICS_PORT": "0", "VIGIE_OTLP_ENDPOINT": "off", "VIGIE_CANARY_S": "0"}
    return outer | quick | {"VIGIE_STATE": str(state)} | settings


def ingest(env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "services.ingest"], env=env, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """A state folder whose outbox has looked at its topics before, so that fetching need not wait for the brokers."""
    outbox = Outbox(outbox_path(tmp_path))
    outbox.look_from({(USERS, 0): 0})
    outbox.close()
    return tmp_path


def until_said(process: subprocess.Popen[str], event: str) -> dict[str, object]:
    assert process.stderr
    for line in process.stderr:
        said = json.loads(line)
        if event in said["event"]:
            return said
    raise AssertionError(f"ended without saying {event!r}")


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("VIGIE_RATE", "fast"),
        ("VIGIE_PAGE_SIZE", "5001"),
        ("VIGIE_PAGE_SIZE", "0"),
        ("VIGIE_BUDGET_USERS", "19"),  # fewer than a page
        ("VIGIE_SOURCE_URL", "ftp://example.com/"),
        ("VIGIE_CALL_TIMEOUT_S", "0"),
        ("VIGIE_BROKERS", "three"),
        ("VIGIE_TRACE_SHARE", "1.5"),
        ("VIGIE_CANARY_S", "-1"),
        ("VIGIE_INGEST_METRICS_PORT", "many"),
        ("VIGIE_NO_SUCH_SETTING", "1"),
        ("VIGIE_ENV_FILE", "/no/such/file"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(tmp_path, key, value):
    process = ingest(environment(tmp_path, **{key: value}))
    _, said = process.communicate(timeout=30)
    assert (process.returncode, key in said or value in said) == (2, True)
    assert "Traceback" not in said


def test_without_brokers_the_outbox_grows_and_holds_whom_the_seed_says(simulator, known, ended):
    process = ingest(environment(known, VIGIE_SOURCE_URL=simulator.api, VIGIE_PAGES="5"))
    ended.append(process)
    until_said(process, "every page that was asked for is fetched")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(12) == 0
    assert time.monotonic() - began < 10.5
    rows = Outbox(outbox_path(known)).waiting(0, 1000)
    assert [(row.key or b"").decode() for row in rows] == [i for page in range(1, 6) for i in ids("tests", page, 20)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        return str(reply.read().decode())


def value(text: str, sample: str) -> float:
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{sample} "))


def test_without_a_collector_every_page_is_kept_and_the_spans_are_counted_as_lost(simulator, known, ended):
    """Nobody listens for the spans; every metric of ingestion is there, and its figures are the outbox's."""
    port = free_port()
    gone = {"VIGIE_OTLP_ENDPOINT": f"http://{NOBODY}", "VIGIE_INGEST_METRICS_PORT": str(port)}
    env = environment(known, VIGIE_SOURCE_URL=simulator.api, VIGIE_PAGES="1000", VIGIE_TRACE_SHARE="1", **gone)
    process = ingest(env | {"VIGIE_OUTBOX_MAX_MB": "100", "VIGIE_CANARY_S": "1", "VIGIE_BUDGET_USERS": "0"})
    ended.append(process)
    until_said(process, "page kept")
    began = time.monotonic()
    threading.Thread(target=lambda: list(process.stderr or ()), daemon=True).start()
    while value(text := scraped(port), "vigie_source_done") == 0 or not lost(text):
        assert time.monotonic() - began < 60
        time.sleep(0.2)
    counts = Outbox(outbox_path(known)).counts()
    assert (counts.fetched, counts.waiting) == (20_000, 20_000)
    assert value(text, "vigie_users_fetched_total") == 20_000
    assert value(text, 'vigie_outbox_rows{topic="users.raw"}') >= 20_001
    assert value(text, 'vigie_source_calls_total{outcome="ok"}') == 1000
    assert value(text, 'vigie_source_breaker_state{state="closed"}') == 1
    missing = [one.name for one in OF_INGESTION if one.name not in text]
    assert missing == [names.SOURCE_BUDGET.name]  # there is none


OF_INGESTION = [one for one in names.METRICS if one.name.startswith(("vigie_source", "vigie_users", "vigie_outbox"))]
OF_INGESTION += [names.REJECTIONS, names.PUBLISH_SECONDS, names.CANARIES_SENT, names.SPANS, names.BUILD_INFO]


def lost(text: str) -> float:
    """The spans that nobody took."""
    return sum(
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith(('vigie_spans_total{outcome="failed"', 'vigie_spans_total{outcome="dropped"'))
    )


def test_at_the_bound_fetching_pauses_and_says_so(simulator, known, ended):
    process = ingest(environment(known, VIGIE_SOURCE_URL=simulator.api, VIGIE_OUTBOX_MAX_MB="1"))
    ended.append(process)
    assert "VIGIE_OUTBOX_MAX_MB" in str(until_said(process, "fetching pauses")["reason"])


def test_a_source_that_does_not_resolve_is_said_and_waited_for(known, ended):
    process = ingest(environment(known, VIGIE_SOURCE_URL="http://no-such-host.invalid/api/"))
    ended.append(process)
    assert "no-such-host.invalid" in str(until_said(process, "no page")["reason"])
    assert process.poll() is None


def test_two_ingestions_do_not_share_an_outbox(simulator, known, ended):
    env = environment(known, VIGIE_SOURCE_URL=simulator.api)
    ended.append(ingest(env))
    until_said(ended[0], "page kept")
    second = ingest(env)
    ended.append(second)
    assert "another ingestion" in str(until_said(second, "cannot start")["reason"])
    assert second.wait(10) == 1


FULL_DISK = """
    import sys, time
    from pathlib import Path
    from services.contract import decode
    from services.outbox import Outbox
    from services.outbox_file import OutboxFull
    from services.source import Cursor
    folder = Path(sys.argv[1])
    users = [decode(line) for line in sys.stdin.buffer.read().splitlines()]
    outbox = Outbox(folder / "outbox.sqlite", seen_users=0)
    page = 1
    try:
        while True:
            outbox.keep(Cursor("tests", page, 10), users, [])
            page += 1
    except OutboxFull as error:
        print(error)
    assert outbox.cursor("tests", 10, "").page == page, "the cursor moved without its page"
    assert outbox.counts().fetched == (page - 1) * 10
    (folder / "ballast").unlink()
    outbox.keep(Cursor("tests", page, 10), users, [])
    print("kept after", page - 1)
"""


def test_a_disk_that_is_really_full_loses_nothing_and_goes_on_when_it_is_not(tmp_path, users):

    mount = f"mount -t tmpfs -o size=2m tmpfs {tmp_path} && head -c 1000000 /dev/zero > {tmp_path}/ballast"
    probe = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*probe, mount], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk: no unshare, or user namespaces are off")
    script = tmp_path.parent / "full_disk.py"
    script.write_text(textwrap.dedent(FULL_DISK))
    done = subprocess.run(
        [*probe, f"{mount} && exec {sys.executable} {script} {tmp_path}"],
        input=b"\n".join(encode(user) for user in users),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"kept after" in done.stdout, done.stderr.decode()
    assert b"full" in done.stdout


def test_the_rate_is_kept_by_pages_that_take_longer_at_times_and_a_long_wait_brings_no_flood():
    now = 0.0
    pace, came = Pace(100, lambda: now), []
    for took_s in [0.1, 1.2, 1.2, *[0.1] * 6, 30.0, *[0.1] * 8]:
        now += took_s
        came.append(now)
        now += pace.wait_s(50)
    assert came[8] == pytest.approx(8 * 0.5 + 0.1)
    assert sum(at < came[9] + 1 for at in came[10:]) == (2 + 1) * 100 / 50
    assert came[17] - came[16] == pytest.approx(0.5)
    assert Pace(0).wait_s(50) == 0


def test_a_seed_without_pages_left_is_followed_by_one_that_ends_in_no_digit():
    assert [generation_of("s", n) for n in range(3)] == ["s", "s.1.", "s.2."]
    assert [parted(generation_of("s.1", n)) for n in (0, 1, 12)] == [("s.1", 0), ("s.1", 1), ("s.1", 12)]


def test_the_budget_is_remembered_over_a_restart(simulator, known, ended):
    env = environment(known, VIGIE_SOURCE_URL=simulator.api, VIGIE_BUDGET_USERS="60", VIGIE_BUDGET_WINDOW_S="300")
    for _ in range(2):
        process = ingest(env)
        ended.append(process)
        until_said(process, "budget spent")
        process.kill()
        process.wait(10)
    with sqlite3.connect(outbox_path(known)) as db:
        assert db.execute("SELECT sum(users) FROM calls").fetchone() == (60,)
