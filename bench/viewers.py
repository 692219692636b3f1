"""
The live page under viewers, with many users summed in Cassandra: its first run and refreshes, reads, memory.

A viewer is what a browser is to the server: a WebSocket that asks for the page, then for its fragment as often as the
page says. The pipeline runs meanwhile, so every refresh has something new to show.
"""

import asyncio
import itertools
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import psutil
import requests
from playwright.sync_api import sync_playwright
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from bench.latency import QUANTILES
from bench.notebook import Notebook
from bench.readers import LANES, WARM_S, reading
from bench.system import System, cost, ended, until
from observability import names, settings
from services import hops
from services.simulator import people
from spark import stores
from spark.contract import AGE, AGE_BAND, BETWEEN, COUNTRY, CROSS, CROSSED, EVERYONE, GENDER, NATIONALITY
from spark.stats import Tables, minutes_to_put, totals_to_put
from spark.totals import Minute, Sums, Totals

DRAWN = 5000  # users of a page of the source; they come again and again
SPREAD_MINUTES = 24 * 60  # the users came evenly within a day
RATE = 50  # users/s that come meanwhile
WARM_RUNS, FIRST_RUNS = 5, 5
START_S, RUN_S, LARGEST = 60, 30, 2**24
ONE, REFRESH, FIRST, SERVER, BROWSER = "one viewer", "refresh", "first run", "server", "browser"
PAINTED = "performance.getEntriesByType('paint').map(one => [one.name.replaceAll('-', ' '), one.startTime])"
CHART = '[data-testid="stVegaLiteChart"] svg.marks'


def few(of: System, book: Notebook) -> None:
    """Some viewers for a moment."""
    measure(of, book, book.size.viewed_s)


def long(of: System, book: Notebook) -> None:
    """As many for ten minutes: what grows."""
    measure(of, book, book.size.viewed_long_s)


def measure(of: System, book: Notebook, seconds: float) -> None:
    """One viewer, then many, while users come."""
    of.sharing.close()  # they hold sums of their own
    began = time.monotonic()
    stored = summed(of, book.size.summed)
    book.say(f"{stored:,} users are summed, {time.monotonic() - began:.0f} s")
    with ExitStack() as stack:
        lanes = stack.enter_context(reading(LANES, of, WARM_S))
        lanes.send(signal.SIGCONT)
        stack.enter_context(of.ingesting(VIGIE_PAGES="0", VIGIE_RATE=str(RATE), VIGIE_SEED="viewers"))
        until(lambda: min(lanes.done().values()) >= DRAWN // 10, WARM_S, "users in both stores")
        page = stack.enter_context(served(of))
        asyncio.run(watched(of, 1, WARM_RUNS * 2))  # imports, connections, caches
        for n in range(FIRST_RUNS):
            first, _ = asyncio.run(watched(of, 1, 0))
            book.note(FIRST, "took", 1000 * first[0], "ms", at=n)
        painted(of, book)
        alone = under(of, book, page, viewers=1, seconds=min(seconds, book.size.viewed_s))
        many = under(of, book, page, viewers=book.size.viewers, seconds=seconds)
        book.note("store reads", "of so many as of one", many / alone, "times", case=f"{book.size.viewers} viewers")


def under(of: System, book: Notebook, page: psutil.Popen, *, viewers: int, seconds: float) -> float:
    """Reads of the stores a second while so many look; everything else is noted."""
    case = ONE if viewers == 1 else f"{viewers} viewers"
    reads, began, used = asked(of), time.monotonic(), cost(page.pid)
    _, refreshes = asyncio.run(watched(of, viewers, seconds))
    took, now = time.monotonic() - began, cost(page.pid)
    a_second = (asked(of) - reads) / took
    for q in QUANTILES:
        book.note(REFRESH, f"p{q * 100:.0f}", 1000 * float(np.quantile(refreshes, q)), "ms", case=case)
    book.note("store reads", "asked", a_second, "reads/s", case=case)
    book.note(SERVER, "processors", now.less(used).cpu_s / took, "cores", case=case)
    book.note(SERVER, "memory before", used.memory / 1e6, "MB", case=case)
    book.note(SERVER, "memory after", now.memory / 1e6, "MB", case=case)
    return a_second


@contextmanager
def served(of: System) -> Iterator[psutil.Popen]:
    """The pages' process, once it answers."""
    with of.state.log("bench-dashboard").open("ab") as log:
        command = [sys.executable, "-m", "dashboard"]
        process = psutil.Popen(command, env=of.env, cwd=settings.ROOT, stdout=log, stderr=log)
    try:
        until(lambda: answers(of), START_S, "the pages")
        yield process
    finally:
        ended(process)


def answers(of: System) -> bool:
    try:
        return requests.get(f"http://{place(of)}/_stcore/health", timeout=2).ok
    except requests.RequestException:
        return False


def place(of: System) -> str:
    return f"{of.setting('HOST')}:{of.setting('DASHBOARD_PORT')}"


def asked(of: System) -> float:
    """The page's questions to the stores up to now."""
    found = (one for family in of.metrics("DASHBOARD") for one in family.samples if one.name == names.PAGE_READS.name)
    return sum(one.value for one in found if one.labels["source"] in ("mongodb", "cassandra"))


def painted(of: System, book: Notebook) -> None:
    """Until a browser that knows nothing of the page paints, and paints content, as it says; and the first chart."""
    program = shutil.which("chromium")
    if not program:
        book.absent[BROWSER] = "no chromium is on the PATH: apt install chromium"
        return
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for n in range(FIRST_RUNS):
            page = browser.new_context().new_page()
            began = time.monotonic()
            page.goto(f"http://{place(of)}/")
            page.locator(CHART).first.wait_for(timeout=1000 * RUN_S)
            book.note(BROWSER, "first chart after", 1000 * (time.monotonic() - began), "ms", at=n)
            for what, ms in page.evaluate(PAINTED):
                book.note(BROWSER, what, float(ms), "ms", at=n)
            page.context.close()
        browser.close()


async def watched(of: System, viewers: int, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds of every first run, and of every refresh, of so many viewers that look for so long."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(view(of, seconds)) for _ in range(viewers)]
    firsts, refreshes = zip(*(task.result() for task in tasks), strict=True)
    return list(firsts), list(itertools.chain.from_iterable(refreshes))


async def view(of: System, seconds: float) -> tuple[float, list[float]]:
    """One viewer: seconds of the first run, and of each refresh of a fragment, each as often as the page says."""
    address, took = f"ws://{place(of)}/_stcore/stream", []
    began = time.monotonic()
    async with connect(address, subprotocols=["streamlit"], max_size=LARGEST) as socket:  # type: ignore[list-item]
        first, every = await run(socket)
        due = {fragment: time.monotonic() + period for fragment, period in every.items()}
        while due and time.monotonic() < began + seconds:
            fragment, at = min(due.items(), key=lambda one: one[1])
            await asyncio.sleep(at - time.monotonic())
            await run(socket, fragment)
            now = time.monotonic()
            took.append(now - at)  # with the time that another fragment of this viewer held it
            due[fragment] = at + every[fragment] * -(-max(1e-9, now - at) // every[fragment])
    return first, took


async def run(socket: ClientConnection, fragment: str = "") -> tuple[float, dict[str, float]]:
    """Ask for the page or for one of its fragments; seconds until it is there, and the fragments with their periods."""
    asks, every = BackMsg(), dict[str, float]()
    asks.rerun_script.fragment_id = fragment
    asks.rerun_script.is_auto_rerun = bool(fragment)
    began = time.monotonic()
    await socket.send(asks.SerializeToString())
    while True:
        said = ForwardMsg()
        said.ParseFromString(await asyncio.wait_for(socket.recv(decode=False), RUN_S))
        kind = said.WhichOneof("type")
        if kind == "auto_rerun":
            every[said.auto_rerun.fragment_id] = said.auto_rerun.interval
        elif kind == "delta" and said.delta.new_element.WhichOneof("type") == "exception":
            raise RuntimeError(said.delta.new_element.exception.message)
        elif kind == "script_finished":
            return time.monotonic() - began, every


def summed(of: System, users: int) -> int:
    """Sum so many drawn users in Cassandra, as if they had come within the last day; how many all time has."""
    wanted = settings.read(stores.Settings, of.env)
    session = hops.cassandra(wanted)
    try:
        tables = Tables(session, int(of.setting("CASSANDRA_CONCURRENCY")))
        totals = Totals(tables.days(), tables.minutes_of)
        minutes = list(drawn(users))
        tables.put(minutes_to_put(tables, minutes))
        days, all_time = totals.take(minutes)
        tables.put(totals_to_put(tables, days, all_time, datetime.now(UTC)))
        return all_time[EVERYONE, EVERYONE].users
    finally:
        session.cluster.shutdown()


def drawn(users: int) -> Iterator[Minute]:
    """The sums of so many users of the source; the last of their minutes is over."""
    now = datetime.now(UTC).replace(tzinfo=None, second=0, microsecond=0)
    sums: dict[tuple[datetime, str, str], list[int]] = {}
    page = people.users("viewers-drawn", 1, min(DRAWN, users), today=now.date())
    for n in range(users):
        one = page[n % DRAWN]
        age = one["dob"]["age"]
        values = {
            COUNTRY: one["location"]["country"],
            GENDER: one["gender"],
            AGE: str(age // AGE_BAND * AGE_BAND),
            NATIONALITY: one["nat"],
        }
        values |= {EVERYONE: EVERYONE, CROSS: BETWEEN.join(values[name] for name in CROSSED)}
        minute = now - timedelta(minutes=2 + n * SPREAD_MINUTES // users)
        for dimension, value in values.items():
            entry = sums.setdefault((minute, dimension, value), [0, 0])
            entry[0] += 1
            entry[1] += age
    for (minute, dimension, value), (count, ages) in sums.items():
        yield Minute(dimension, minute, value, Sums(count, ages))
