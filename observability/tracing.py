"""
Traces: spans by the names of `observability.names`, sent to the collector over OTLP, carried through Kafka's headers.

A span that cannot be sent is dropped and counted; nothing waits for the collector. A user whose whole way is traced
(a journey: VIGIE_TRACE_SHARE of all, at most VIGIE_TRACE_MAX_PER_S) has `tracestate: vigie=journey` beside the
`traceparent` that every message has.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from observability import metrics, names
from observability.logs import Log
from observability.names import SpanName

log = Log(__name__)

OFF = "off"
QUEUE, BATCH = 4096, 512  # spans that may wait for the collector, and how many are sent at once
EXPORT_S = 5.0
LINKS = 16  # of a batch's span to the messages in it
TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
JOURNEY = "vigie=journey"

Header = tuple[str, bytes]
KINDS = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class Counted(SpanExporter):
    """The exporter, with what it took and what it failed to send counted."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._taking = True
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            outcome = "exported" if result is SpanExportResult.SUCCESS else "failed"
            metrics.counter(names.SPANS).labels(outcome).inc(len(spans))
            self._tell(outcome == "exported")
        return result

    def _tell(self, taken: bool) -> None:
        """Say when the collector stops taking spans and when it takes them again, not at each try."""
        if taken != self._taking:
            self._taking = taken
            log.info("the collector takes spans") if taken else log.warning("the collector takes no spans: counted")

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class Bounded(BatchSpanProcessor):
    """The SDK's queue before the exporter, with the spans that found it full counted."""

    def __init__(self, exporter: Counted) -> None:
        super().__init__(exporter, max_queue_size=QUEUE, schedule_delay_millis=1000, max_export_batch_size=BATCH)
        self._counted, self._entered = exporter, 0

    def on_end(self, span: ReadableSpan) -> None:
        metrics.counter(names.SPANS).labels("ended").inc()
        if self._entered - self._counted.taken >= QUEUE:
            metrics.counter(names.SPANS).labels("dropped").inc()  # the queue lets its oldest go for this one
        else:
            self._entered += 1
        super().on_end(span)


def start(service: str, endpoint: str) -> None:
    """Send this process's spans to `endpoint` (the collector's address, OTLP over HTTP); `off` makes none."""
    if endpoint == OFF:
        return
    resource = Resource.create({"service.name": service, "service.namespace": "vigie"})
    provider = TracerProvider(
        resource=resource, shutdown_on_exit=False
    )  # whose end would wait for a collector that is gone
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_S)
    provider.add_span_processor(Bounded(Counted(exporter)))
    trace.set_tracer_provider(provider)


def stop(patience_s: float = 1.0) -> None:
    """Send what still waits, for at most `patience_s`; what is not sent by then is lost with the process."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        sending = threading.Thread(target=provider.force_flush, name="last spans", daemon=True)
        sending.start()
        sending.join(patience_s)


@cache
def _tracer(provider: trace.TracerProvider) -> trace.Tracer:
    """One for each provider: asking the SDK for it costs a quarter of a span."""
    return provider.get_tracer("vigie")


@contextmanager
def span(
    name: SpanName,
    attributes: Mapping[str, Any] | None = None,
    *,
    what: str = "",
    parent: SpanContext | None = None,
    links: Iterable[SpanContext] = (),
) -> Iterator[Span]:
    """
    A span around the `with`; an error that leaves it is recorded with its class and reason, and raised on.

    `what` follows the name (`send users.raw`). Without `parent` it is a child of the span around it, if there is one.
    """
    with _tracer(trace.get_tracer_provider()).start_as_current_span(
        f"{name.name} {what}".strip(),
        context=_context(parent),
        kind=KINDS[name.kind],
        attributes=dict(attributes or {}),
        links=[Link(one) for one in links],
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        try:
            yield made
        except BaseException as error:
            failed(made, error)
            raise


def past(
    name: SpanName,
    began_ns: int,
    ended_ns: int,
    attributes: Mapping[str, Any],
    *,
    what: str = "",
    parent: SpanContext | None = None,
    links: Iterable[SpanContext] = (),
) -> SpanContext:
    """A span of something that is over (Unix times in nanoseconds); return its context, to be a parent."""
    made = _tracer(trace.get_tracer_provider()).start_span(
        f"{name.name} {what}".strip(),
        context=_context(parent),
        kind=KINDS[name.kind],
        attributes=dict(attributes),
        links=[Link(one) for one in links],
        start_time=began_ns,
    )
    made.end(ended_ns)
    return made.get_span_context()


def failed(one: Span, error: BaseException) -> None:
    """Say on the span what went wrong: the error's class, and its text, which by our rules names no person."""
    one.set_attribute("error.type", type(error).__name__)
    one.set_status(Status(StatusCode.ERROR, str(error)[:300]))


def _context(parent: SpanContext | None) -> Any:
    return None if parent is None else trace.set_span_in_context(NonRecordingSpan(parent))


def current() -> SpanContext | None:
    """The context of the span around; None where there is none."""
    found = trace.get_current_span().get_span_context()
    return found if found.is_valid else None


def traceparent(context: SpanContext | None) -> str:
    """The W3C header's text of a context; empty for none."""
    if context is None or not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def parsed(text: str) -> SpanContext | None:
    """The context that a `traceparent` names; None if it names none."""
    parts = text.split("-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2]:
        return None
    try:
        trace_id, span_id, flags = (int(part, 16) for part in parts[1:4])
    except ValueError:
        return None
    found = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags), trace_state=TraceState())
    return found if found.is_valid else None


def headers(text: str, *, journey: bool) -> list[Header]:
    """A message's headers for the `traceparent` of `text`; none for an empty one."""
    if not text:
        return []
    return [(TRACEPARENT, text.encode()), *([(TRACESTATE, JOURNEY.encode())] if journey else [])]


def trace_id(text: str) -> str:
    """The trace's id out of a `traceparent`; empty if it names none."""
    found = parsed(text)
    return f"{found.trace_id:032x}" if found else ""


def exemplar(context: SpanContext | None) -> dict[str, str] | None:
    """What leads from a histogram's bucket to a trace."""
    return None if context is None or not context.is_valid else {"trace_id": f"{context.trace_id:032x}"}
