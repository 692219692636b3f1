"""Files that the pipeline lives on are damaged: it says so, keeps them, and finds its way back."""

import re
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from observability import settings
from services.outbox_file import outbox_path
from spark.lanes import checkpoint

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]


def test_the_state_is_kept_whole_each_minute_so_that_no_start_reads_every_change(stack):
    state = Path(checkpoint(stack.state.root, "stats")) / "state"
    before, ages = max(newest(state).values(), default=0), []

    def told():
        ages.extend(float(one["value"][1]) for one in stack.ask('vigie_lane_snapshot_age_batches{lane="stats"}'))
        return min(newest(state).values()) > before and any(now < was for was, now in pairwise(ages))

    stack.until(lambda: newest(state))
    stack.until(told, limit_s=150)
    assert len(newest(state)) == 2 * int(settings.environ(stack.env)["VIGIE_SHUFFLE_PARTITIONS"]), "copies, and sums"
    assert max(ages) < 200


def newest(state: Path) -> dict[Path, int]:
    """The last version that was kept whole of each partition of each operator's state; 0 if none was."""
    places = state.glob("[0-9]*/[0-9]*")
    return {place: max((int(file.stem) for file in place.glob("*.zip")), default=0) for place in places}


def test_a_damaged_checkpoint_stops_its_lane_alone_and_the_way_back_loses_nothing(stack):
    aside = ("spark.lanes", "--set-checkpoint-aside", "stats")
    assert "stop them first" in stack.run(*aside).stderr
    stack.stop("spark")
    place = Path(checkpoint(stack.state.root, "stats"))
    assert not list(place.rglob("*.crc")), "Hadoop writes checksums beside its files if nobody tells it not to"
    for file in (place / "offsets").iterdir():
        file.write_bytes(b"\0" * 40)
    stack.start("spark")
    stack.until(lambda: "--set-checkpoint-aside stats" in stack.log("spark"))
    stack.grown("stored", 100)
    assert 0 < connections(stack, "spark", "VIGIE_CASSANDRA_PORT") <= 4, "each start of the lane has left its own"
    stack.stop("spark")
    assert stack.run(*aside).returncode == 0
    assert list(place.parent.glob("stats.aside-*"))
    stack.start("spark")
    stack.grown("summed", 100, limit_s=180)  # it reads the whole topic first
    stack.audit()


def connections(stack, program: str, port: str) -> int:
    """How many a program's own process has to that port."""
    there = psutil.Process(stack.pid(program)).net_connections("tcp")
    return sum(bool(one.raddr) and one.raddr.port == int(stack.env[port]) for one in there)


def test_a_damaged_outbox_is_kept_and_built_anew_from_the_topic(stack):
    copies = re.compile(r"[\d,]+ copies")
    before = copies.search(stack.audit()["topic"]).group()
    stack.stop("ingest")
    place = outbox_path(stack.state.root)
    for file in place.parent.glob(place.name + "*"):
        file.write_bytes(b"\x80" * 5000)
    stack.start("ingest")
    stack.until(lambda: (stack.hops()["fetched"] or 0) >= 100)
    assert [file.read_bytes() for file in place.parent.glob("*.damaged-*[0-9]")] == [b"\x80" * 5000]
    assert copies.search(stack.audit()["topic"]).group() == before
