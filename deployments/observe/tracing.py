"""Spans of OpenTelemetry over the stages of a request, across processes. Off by default: then nothing is imported.

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
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

SERVICE = "sam3-serve"
HEADER = "traceparent"
TIMEOUT_S = 5
"""For one report to the collector, which happens beside the requests."""


@dataclass(frozen=True, slots=True)
class TracingConfig:
    """Where spans go: a collector's OTLP/HTTP address. ratio: share of traces that are recorded."""

    endpoint: str
    ratio: float = 1.0


class TracingNotInstalled(Exception):
    """The packages for it are missing."""

    def __init__(self) -> None:
        super().__init__("SAM3_OTLP_ENDPOINT needs the extra: pip install 'sam3-serve[otel]'")


_tracer: Any = None
_provider: Any = None
_current: ContextVar[Any] = ContextVar("sam3-span", default=None)
"""The span that this task works in."""


def configure(config: TracingConfig | None, part: str) -> None:
    """Switch tracing on in this process, once. part: what the process is. Raises TracingNotInstalled."""
    global _tracer, _provider
    if config is None or _tracer is not None:
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
    """Whether this process traces."""
    return _tracer is not None


def trace(name: str, traceparent: str | None) -> AbstractContextManager[Any]:
    """A request's outermost span, in the trace of the client's header where that is valid. Gives the span, or None."""
    if _tracer is None:
        return nullcontext()
    return _open(name, _remote(traceparent), server=True)


def span(name: str, traceparent: str | None = None) -> AbstractContextManager[Any]:
    """A part of the work, within the span that another process names, else this task's. Gives the span, or None."""
    if _tracer is None:
        return nullcontext()
    parent = _remote(traceparent) if traceparent else _current.get()
    return nullcontext() if parent is None else _open(name, parent)


def traceparent() -> str | None:
    """This task's span, for a message to another process. None when there is nothing to record."""
    here = _current.get()
    if here is None:
        return None
    context = here.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def trace_id() -> str | None:
    """The trace that this task works in, as 32 hex digits."""
    here = _current.get()
    return None if here is None else f"{here.get_span_context().trace_id:032x}"


def stages(seconds: Mapping[str, float]) -> None:
    """Spans for stages that are over, of which only the durations are known: laid end to end, the last one ends now."""
    parent = _current.get()
    if parent is None:
        return
    at = time.time_ns() - int(sum(seconds.values()) * 1e9)
    for name, duration in seconds.items():
        child = _tracer.start_span(name, context=_context(parent), start_time=at)
        at += int(duration * 1e9)
        child.end(at)


def flush() -> None:
    """Send what has not been sent yet."""
    if _provider is not None:
        _provider.force_flush()


def stop() -> None:
    """Send what has not been sent yet, and trace no more."""
    global _tracer, _provider
    if _provider is not None:
        _provider.shutdown()
    _tracer = _provider = None


@contextmanager
def _open(name: str, parent: Any, *, server: bool = False) -> Iterator[Any]:
    from opentelemetry.trace import SpanKind, Status, StatusCode

    opened = _tracer.start_span(
        name, context=_context(parent), kind=SpanKind.SERVER if server else SpanKind.INTERNAL
    )
    recorded = opened if opened.is_recording() else None
    token = _current.set(recorded)
    try:
        yield recorded
    except BaseException as error:
        opened.set_status(Status(StatusCode.ERROR, type(error).__name__))  # its text may quote a client
        raise
    finally:
        _current.reset(token)
        opened.end()


def _remote(traceparent: str | None) -> Any:
    """The span that a header names; None for what is none."""
    from opentelemetry.trace import get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({HEADER: traceparent or ""}, context=_context(None))
    found = get_current_span(context)
    return found if found.get_span_context().is_valid else None


def _context(parent: Any) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace import set_span_in_context

    return Context() if parent is None else set_span_in_context(parent, Context())
