"""What the measures are made of, without an engine: quantiles, marks, messages, ports."""

from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest
from dotenv import dotenv_values

from bench import draining, growth, limits, system, viewers
from bench.__main__ import MEASURES, main, parser, run
from bench.latency import quantile
from bench.notebook import Notebook
from bench.peers import job
from bench.readers import PEERS, Mark
from bench.size import SHORT
from observability import settings
from services import contract
from spark import documents
from spark.contract import DIMENSIONS


@pytest.mark.parametrize(("q", "value"), [(0.5, 1.0), (0.75, 1.5), (0.25, 0.5), (1.0, 2.0)])
def test_a_quantile_lies_within_its_bucket_by_proportion(q, value):
    assert quantile({1.0: 50, 2.0: 100, float("inf"): 100}, q) == value


def test_a_quantile_beyond_the_last_bound_is_that_bound():
    assert quantile({1.0: 1, 2.0: 1, float("inf"): 100}, 0.99) == 2.0


def test_a_batch_ends_when_spark_or_the_peer_says():
    assert Mark("raw", 1, started="2026-01-01T00:00:00.000Z", ms={"triggerExecution": 1500}).ended % 10 == 1.5
    assert Mark("raw", 1, written=12.0).ended == 12.0


def test_messages_are_users_as_the_topic_has_them_each_another():
    sent = limits.messages(20)
    events = [contract.decode(value) for _, value in sent]
    assert [event.user_id.encode() for event in events] == [key for key, _ in sent]
    assert len({event.user_id for event in events}) == 20


def test_ten_times_as_many_countries_are_that_many_and_everybody_is_somebody_else():
    sent = limits.messages(200)
    there = [growth.elsewhere(growth.other(one), n % 10) for n, one in enumerate(sent * 2)]
    events = [contract.decode(value) for _, value in there]
    before = {contract.decode(value).location.country for _, value in sent}
    countries = {one.location.country for one in events}
    assert countries <= before | {f"{name} {n}" for name in before for n in range(1, 10)}
    assert len(countries) > 5 * len(before)
    assert len({one.user_id for one in events} | {contract.decode(value).user_id for _, value in sent}) == 600
    assert [key for key, _ in there] == [one.user_id.encode() for one in events]


def test_a_peer_stores_the_document_that_the_lane_stores():
    _, value = limits.messages(1)[0]
    at = datetime(2026, 1, 1, tzinfo=UTC)
    lanes = documents.document(contract.decode(value), 1, 2, at)
    peer = job.document(msgspec.json.decode(value), 1, 2, 1000 * int(at.timestamp()))
    assert peer | {"stored_at": 0} == {k: v for k, v in (lanes | {"stored_at": 0}).items() if k != "trace_id"}


def test_the_ports_of_a_measured_system_are_its_own():
    file = dotenv_values(settings.ROOT / ".env")
    moved = system.ports(file)
    assert len(set(moved.values())) == len(moved)
    assert not {value for key, value in file.items() if key.endswith("_PORT")} & set(moved.values())
    assert all(1024 < int(port) < 32768 for port in moved.values())


def test_every_word_of_the_front_door_is_a_measure():
    assert parser().parse_args([]).what == []
    assert set(MEASURES) == {
        "ingest",
        "raw",
        "stats",
        "end-to-end",
        "telemetry",
        "growth",
        "dashboard",
        "traces",
        "trial",
        "viewers",
    }
    with pytest.raises(SystemExit):
        main(["speed"])


def test_a_measure_that_fails_takes_only_its_own_figures_with_it(monkeypatch):
    systems: list[str] = []

    @contextmanager
    def running():
        systems.append("up")
        yield SimpleNamespace(first_users_s=1.0)
        systems.append("down")

    def fails(of, book):
        book.note("one", "took", 1.0, "s")
        raise TimeoutError("late")

    def goes_well(of, book):
        book.note("two", "took", 2.0, "s")

    monkeypatch.setattr("bench.system.running", running)
    monkeypatch.setattr("bench.__main__.MEASURES", {"first": (fails, goes_well), "second": (goes_well,)})
    book, kept = Notebook(SHORT), []
    run(["second", "first"], book, {}, lambda: kept.append(len(book.samples)))
    assert systems == ["up", "down", "up", "down"]
    assert kept == [2, 4, 5]
    assert [one.what for one in book.samples if one.subject == "two"] == ["first", "second"]
    assert book.absent == {f"first, {__name__}.fails": "TimeoutError: late"}
    assert book.failed


@pytest.mark.parametrize("measure", [draining.traces, draining.trial, growth.checkpoints, growth.days, viewers.few])
def test_lanes_that_are_started_anew_find_what_was_filled_for_them(measure, monkeypatch):
    """Those that measures share would read it, if they were not ended before."""
    order: list[str] = []

    def filled(*_):
        order.append("filled")
        raise InterruptedError

    monkeypatch.setattr("bench.growth.total", lambda *_: None)
    monkeypatch.setattr("bench.viewers.summed", filled)
    of = SimpleNamespace(sharing=ExitStack(), fill=filled, held=lambda _: nullcontext())
    of.sharing.callback(order.append, "ended")
    with pytest.raises(InterruptedError):
        measure(of, Notebook(SHORT))
    assert order == ["ended", "filled"]


def test_an_earlier_result_that_is_none_stops_before_anything_starts(tmp_path, capsys):
    assert main(["ingest", "--against", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err


def test_a_peer_whose_library_is_missing_says_how_to_have_it():
    for kind in PEERS:
        assert kind.absent == "" or "--group peers" in kind.absent


def test_drawn_users_are_all_in_the_sums_of_every_dimension():
    minutes = list(viewers.drawn(3000))
    by_dimension = {one.dimension: 0 for one in minutes}
    for one in minutes:
        by_dimension[one.dimension] += one.sums.users
    assert by_dimension == dict.fromkeys(DIMENSIONS, 3000)
    assert len({(one.dimension, one.minute, one.value) for one in minutes}) == len(minutes)
