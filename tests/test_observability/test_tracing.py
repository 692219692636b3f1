"""Spans: what carries them from process to process, and what becomes of those that nobody takes."""

from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from observability import metrics, names, tracing
from observability.tracing import Bounded, Counted

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Refusing(SpanExporter):
    """A collector that is gone."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.FAILURE


def spans(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value(names.SPANS.name, {"outcome": outcome}) or 0.0


def test_a_traceparent_is_read_back_to_itself():
    assert tracing.traceparent(tracing.parsed(PARENT)) == PARENT
    assert tracing.trace_id(PARENT) == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("text", ["", "00", "x" * 55, "00-" + "0" * 32 + "-b7ad6b7169203331-01", "00-é-b-1", "-" * 60])
def test_what_is_no_traceparent_is_no_context(text):
    assert tracing.parsed(text) is None
    assert tracing.trace_id(text) == ""


def test_only_a_journeys_message_has_a_tracestate():
    assert tracing.headers(PARENT, journey=False) == [("traceparent", PARENT.encode())]
    assert tracing.headers(PARENT, journey=True)[1] == ("tracestate", b"vigie=journey")
    assert tracing.headers("", journey=True) == []


def test_spans_that_nobody_takes_are_counted_as_failed_or_dropped_and_end_all_the_same():
    before = {outcome: spans(outcome) for outcome in ("ended", "exported", "failed", "dropped")}
    queue = Bounded(Counted(Refusing()))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(queue)
    tracer = provider.get_tracer("test")
    for _ in range(3 * tracing.QUEUE):
        tracer.start_span("one").end()
    provider.force_flush()
    more = {outcome: spans(outcome) - n for outcome, n in before.items()}
    provider.shutdown()
    assert more["ended"] == 3 * tracing.QUEUE
    assert more["failed"] + more["dropped"] == more["ended"]
    assert more["failed"] >= tracing.QUEUE
    assert more["exported"] == 0
