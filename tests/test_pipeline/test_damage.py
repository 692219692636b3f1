"""Files that the pipeline lives on are damaged: it says so, keeps them, and finds its way back."""

import re
from functools import partial
from pathlib import Path

import psutil
import pytest

from observability import settings
from services.outbox_file import outbox_path
from spark.lanes import checkpoint

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]


def test_the_state_is_kept_whole_each_minute_so_that_no_start_reads_every_change(stack):
    state = Path(checkpoint(stack.state.root, "stats")) / "state"
    kept = partial(whole, state)
    stack.until(lambda: kept() and all(kept().values()), limit_s=150)
    partitions = int(settings.environ(stack.env)["VIGIE_SHUFFLE_PARTITIONS"])
    assert len(kept()) == 2 * partitions, "duplicates and sums"
    ages = stack.until(lambda: stack.ask('vigie_lane_snapshot_age_batches{lane="stats"}'))
    assert 0 < float(ages[0]["value"][1]) < 200


def whole(state: Path) -> dict[Path, list[Path]]:
    """Spark's snapshots of each partition of each operator's state."""
    return {place: list(place.glob("*.zip")) for place in state.glob("[0-9]*/[0-9]*")}


def test_a_damaged_checkpoint_stops_its_lane_alone_and_the_way_back_loses_nothing(stack):
    aside = ("spark.lanes", "--set-checkpoint-aside", "stats")
    assert "stop them first" in stack.run(*aside).stderr
    stack.stop("spark")
    place = Path(checkpoint(stack.state.root, "stats"))
    assert not list(place.rglob("*.crc")), "written by Hadoop's own local files, which start a process for each"
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
