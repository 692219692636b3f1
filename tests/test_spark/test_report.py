"""A batch tells of itself: counted, seen as a span with a few links, and found in the trace of each sampled user."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from observability import metrics, names, tracing
from spark import report
from spark.contract import RAW, STATS, Counted
from spark.seen import JOURNEYS, Canary, Journey, Seen

EXPORTER = InMemorySpanExporter()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    EXPORTER.clear()
    yield EXPORTER


def parent(n: int) -> str:
    return f"00-{n:032x}-{n:016x}-01"


def value(metric: names.Metric, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(metric.name, labels) or 0.0


def written(journeys: tuple[Journey, ...], began_ns: int, ended_ns: int) -> report.Written:
    return report.Written(report.MONGODB, "users", 9, began_ns, ended_ns, journeys)


def test_a_journey_passes_the_batch_and_its_write_in_its_own_trace(spans):
    journey = Journey(parent(7), 2, 41)
    with report.batch(RAW, 3) as one:
        now = time.time_ns()
        whole = Seen(Counted(read=9, users=9), journeys=(journey,), sample=(parent(1), parent(7)))
        report.done(one, whole, whole.counted, [written((journey,), now - 5, now)], 0.1)
    way = [span for span in spans.get_finished_spans() if span.context.trace_id == 7]
    (batch,) = [span for span in spans.get_finished_spans() if span.context.trace_id != 7]
    write, process = sorted(way, key=lambda span: span.name, reverse=True)
    assert (process.name, process.parent.span_id) == ("process users.raw", 7)
    assert (write.name, write.parent.span_id) == ("write mongodb", process.context.span_id)
    assert (process.start_time, process.end_time, write.start_time, write.end_time) == (one.began_ns, now, now - 5, now)
    assert process.attributes["messaging.kafka.offset"] == 41
    assert process.attributes["vigie.journey"] == write.attributes["vigie.journey"] == "true"
    assert [link.context for link in process.links] == [batch.context]
    assert [link.context.trace_id for link in batch.links] == [7, 1]
    assert batch.attributes["messaging.batch.message_count"] == 9


def test_every_attribute_is_one_of_the_names(spans):
    journey = Journey(parent(7), 2, 41)
    with report.batch(STATS, 3) as one:
        with report.attempt(STATS, report.CASSANDRA, "totals", (OSError,)) as told:
            told.rows = 4
        report.done(one, Seen(journeys=(journey,)), Counted(), [written((journey,), 1, 2)], 0.1)
    known = {"process": names.PROCESS, "write": names.WRITE}
    made = spans.get_finished_spans()
    assert len(made) == 4
    for span in made:
        assert set(span.attributes) <= set(known[span.name.split()[0]].attributes)


def test_links_and_journeys_of_a_batch_are_bounded(spans):
    journeys = tuple(Journey(parent(n), 0, n) for n in range(1, 2 * JOURNEYS))
    with report.batch(RAW, 1) as one:
        report.done(one, Seen(journeys=journeys), Counted(), [written(journeys, 1, 2)], 0.1)
    made = spans.get_finished_spans()
    assert len(made) == 2 * JOURNEYS + 1
    assert len(made[-1].links) == tracing.LINKS


def test_a_traceparent_that_names_no_trace_is_left_out(spans):
    journeys = (Journey("nonsense", 0, 1), Journey("\ufffd" * 55, 0, 2), Journey("", 0, 3))
    with report.batch(RAW, 1) as one:
        report.done(one, Seen(journeys=journeys, sample=("-",)), Counted(), [written(journeys, 1, 2)], 0.1)
    (batch,) = spans.get_finished_spans()
    assert batch.links == ()


def test_an_attempt_that_the_store_refuses_is_counted_and_its_span_says_why(spans):
    before = value(names.STORE_ERRORS, store="mongodb"), value(names.STORE_WRITES, store="mongodb")
    with pytest.raises(ConnectionError), report.attempt(RAW, report.MONGODB, "users", (ConnectionError,)) as told:
        told.rows = 3
        raise ConnectionError("nobody there")
    with pytest.raises(KeyError), report.attempt(RAW, report.MONGODB, "users", (ConnectionError,)):
        raise KeyError("not the store's")
    after = value(names.STORE_ERRORS, store="mongodb"), value(names.STORE_WRITES, store="mongodb")
    assert after == (before[0] + 1, before[1] + 3)
    first = spans.get_finished_spans()[0]
    assert (first.status.status_code, first.status.description) == (StatusCode.ERROR, "nobody there")
    assert first.attributes["error.type"] == "ConnectionError"


def test_messages_are_counted_by_what_became_of_them(spans):
    became = Counted(read=10, users=5, duplicates=2, poison=2, canaries=1)
    before = {outcome: value(names.LANE_MESSAGES, lane=RAW, outcome=outcome) for outcome in report.OUTCOMES}
    with report.batch(RAW, 1) as one:
        report.done(one, Seen(), became, [], 0.0)
    after = {outcome: value(names.LANE_MESSAGES, lane=RAW, outcome=outcome) for outcome in report.OUTCOMES}
    assert {outcome: after[outcome] - before[outcome] for outcome in after} == {
        "user": 5,
        "duplicate": 2,
        "poison": 2,
        "canary": 1,
    }


def test_each_user_of_a_page_is_observed_from_its_fetch():
    def seen() -> tuple[float, float]:
        found = (
            metrics.REGISTRY.get_sample_value(f"{names.END_TO_END.name}_{part}", {"lane": RAW}) or 0.0
            for part in ("count", "sum")
        )
        return next(found), next(found)

    before = seen()
    report.arrived(RAW, {1_000_000: 3, 2_000_000: 1, 99_000_000: 1}, {1_000_000: parent(5)}, 4 * 10**9)
    users, seconds = seen()
    assert (users - before[0], round(seconds - before[1], 6)) == (5, 3 * 3 + 2 + 0)


def test_every_series_of_both_lanes_is_there_from_the_start():
    report.begin()
    for lane in (RAW, STATS):
        for metric in (names.LANE_UP, names.LANE_RESTARTS, names.LANE_BATCHES, names.LANE_COMMITS_FAILED):
            assert metrics.REGISTRY.get_sample_value(metric.name, {"lane": lane}) is not None


def test_what_parts_saw_adds_up_and_stays_bounded():
    def part(partition: int, begin: int, end: int, fetched: dict[int, int]) -> Seen:
        journeys = tuple(Journey(parent(n + 1), partition, n) for n in range(JOURNEYS))
        sample = tuple(parent(n + 1) for n in range(tracing.LINKS))
        return Seen(Counted(read=1), {partition: begin}, {partition: end}, fetched, {}, journeys, sample)

    whole = part(0, 5, 9, {1: 2}).plus(part(1, 3, 4, {1: 1, 2: 1})).plus(part(0, 1, 5, {}))
    assert (whole.counted.read, whole.begins, whole.ends) == (3, {0: 1, 1: 3}, {0: 9, 1: 4})
    assert whole.fetched == {1: 3, 2: 1}
    assert (len(whole.journeys), len(whole.sample)) == (JOURNEYS, tracing.LINKS)


def test_the_canary_that_was_fetched_last_is_the_newest():
    early, late = (
        Canary("c", datetime(2026, 1, day, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), "") for day in (1, 2)
    )
    assert Seen(canary=late).plus(Seen(canary=early)).plus(Seen()).canary == late
