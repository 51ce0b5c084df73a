"""Spans of OpenTelemetry over the stages of a request, across processes. Off by default: then nothing is recorded.

The ingress opens a trace, or goes on with the one of the client's `traceparent` header. Messages between processes
carry the span that they belong to in the same form, and each process sends its own spans to the collector:

    POST /sam3/visual_segment        ingress
      decode                         ingress, a new image only
      pool.ensure                    pool
        encoder.encode               encoder
      decoder.run                    decoder
        transfer, queue, prompt, post
      pool.lookup                    pool, asked by the decoder

Without a trace around it (a trace that is not recorded, a health check) nothing opens a span.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import (
    NoOpTracer,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    format_trace_id,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

SERVICE = "sam3-serve"
HEADER = "traceparent"
TIMEOUT_S = 5
"""Seconds for one report to the collector, which happens beside the requests."""


@dataclass(frozen=True, slots=True)
class TracingConfig:
    """The OTLP/HTTP address of the collector that gets the spans. ratio: share of traces that are recorded."""

    endpoint: str
    ratio: float = 1.0


class TracingNotInstalled(Exception):
    """The packages for it are missing."""

    def __init__(self) -> None:
        super().__init__("SAM3_OTLP_ENDPOINT needs the extra: pip install 'sam3-serve[otel]'")


_tracer: Tracer = NoOpTracer()
_provider: Any = None
"""The SDK's, once tracing is on."""
_propagator = TraceContextTextMapPropagator()


def configure(config: TracingConfig | None, part: str) -> None:
    """Switch tracing on in this process, once. part: the process's kind, such as an encoder. Raises
    TracingNotInstalled."""
    global _tracer, _provider
    if config is None or _provider is not None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ModuleNotFoundError:
        raise TracingNotInstalled from None
    # A client decides which trace its request belongs to, and not how much is recorded.
    ratio = TraceIdRatioBased(config.ratio)
    _provider = TracerProvider(
        resource=Resource.create({"service.name": SERVICE, "sam3.part": part}),
        sampler=ParentBased(ratio, remote_parent_sampled=ratio, remote_parent_not_sampled=ratio),
    )
    exporter = OTLPSpanExporter(endpoint=f"{config.endpoint.rstrip('/')}/v1/traces", timeout=TIMEOUT_S)
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = _provider.get_tracer(SERVICE)


def enabled() -> bool:
    """True in a process that sends spans to a collector."""
    return _provider is not None


def trace(name: str, traceparent: str | None) -> AbstractContextManager[Span | None]:
    """A request's outermost span, in the trace of the client's header where that is valid. Gives None where it is not
    recorded."""
    return _open(name, _remote(traceparent), SpanKind.SERVER) if enabled() else nullcontext()


def span(name: str, traceparent: str | None = None) -> AbstractContextManager[Span | None]:
    """A part of the work, within the span that another process names, else this task's. Gives None where there is none
    or it is not recorded."""
    if traceparent:
        return _open(name, _remote(traceparent))
    return _open(name) if get_current_span().is_recording() else nullcontext()


def traceparent() -> str | None:
    """This task's span, for a message to another process. None when there is nothing to record."""
    carrier: dict[str, str] = {}
    if get_current_span().is_recording():
        _propagator.inject(carrier)
    return carrier.get(HEADER)


def trace_id() -> str | None:
    """The trace that this task works in, as 32 hex digits. None when it is not recorded."""
    here = get_current_span()
    return format_trace_id(here.get_span_context().trace_id) if here.is_recording() else None


def stages(seconds: Mapping[str, float]) -> None:
    """Spans for stages that are over, of which only the durations are known: laid end to end, the last one ends now."""
    if not get_current_span().is_recording():
        return
    at = time.time_ns() - int(sum(seconds.values()) * 1e9)
    for name, duration in seconds.items():
        child = _tracer.start_span(name, start_time=at)
        at += int(duration * 1e9)
        child.end(at)


def flush() -> None:
    """Send the spans that have not been sent yet."""
    if _provider is not None:
        _provider.force_flush()


def stop() -> None:
    """Send the spans that have not been sent yet, and trace no more."""
    global _tracer, _provider
    if _provider is not None:
        _provider.shutdown()
    _tracer, _provider = NoOpTracer(), None


@contextmanager
def _open(
    name: str, within: Context | None = None, kind: SpanKind = SpanKind.INTERNAL
) -> Iterator[Span | None]:
    """within: None is this task's context."""
    with _tracer.start_as_current_span(
        name, within, kind, record_exception=False, set_status_on_exception=False
    ) as opened:
        try:
            yield opened if opened.is_recording() else None
        except BaseException as error:
            opened.set_status(Status(StatusCode.ERROR, type(error).__name__))  # its text may quote a client
            raise


def _remote(traceparent: str | None) -> Context:
    """The context that a header names; an empty one, which starts a trace, for a header that names none."""
    return _propagator.extract({HEADER: traceparent}, Context()) if traceparent else Context()
