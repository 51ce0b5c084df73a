import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from deployments.observe import tracing
from deployments.observe.tracing import TracingConfig
from tests.support.otlp_receiver import Receiver, otlp_receiver

CLIENT_TRACE, CLIENT_SPAN = "a" * 32, "b" * 16
CLIENT = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with otlp_receiver() as running:
        yield running
        tracing.stop()


@pytest.fixture
def collected(receiver: Receiver) -> Receiver:
    tracing.configure(TracingConfig(receiver.url), "ingress")
    return receiver


async def test_spans_of_several_processes_are_one_trace(collected: Receiver) -> None:
    async def other_process(message: str | None) -> None:
        with tracing.span("pool.ensure", message):
            await asyncio.create_task(further(tracing.traceparent()))

    async def further(message: str | None) -> None:
        with tracing.span("encoder.encode", message):
            pass

    with tracing.trace("POST /sam3/visual_segment", CLIENT) as opened:
        assert opened is not None
        opened.set_attribute("sam3.tenant", "acme")
        assert tracing.trace_id() == CLIENT_TRACE
        with tracing.span("decode"):
            pass
        await other_process(tracing.traceparent())
        tracing.stages({"queue": 0.25, "prompt": 0.5})
    assert tracing.trace_id() is None
    tracing.flush()
    found = collected.trace(CLIENT_TRACE)
    root = found["POST /sam3/visual_segment"]
    assert root.parent == CLIENT_SPAN
    assert root.attributes["sam3.tenant"] == "acme"
    assert root.part == "ingress"
    assert found["decode"].parent == found["pool.ensure"].parent == root.id
    assert found["encoder.encode"].parent == found["pool.ensure"].id
    assert found["queue"].end_ns == found["prompt"].start_ns
    assert found["prompt"].end_ns - found["prompt"].start_ns == pytest.approx(0.5e9)


@pytest.mark.parametrize("header", [None, "", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_request_without_a_valid_header_starts_a_trace(collected: Receiver, header: str | None) -> None:
    with tracing.trace("GET /info", header):
        trace_id = tracing.trace_id()
    assert trace_id is not None
    tracing.flush()
    assert collected.trace(trace_id)["GET /info"].parent == ""


def test_an_error_is_marked_and_not_quoted(collected: Receiver) -> None:
    with pytest.raises(ValueError, match="secret"), tracing.trace("POST /sam3/embed_image", CLIENT):
        raise ValueError("secret of a client")
    tracing.flush()
    assert collected.trace(CLIENT_TRACE)["POST /sam3/embed_image"].failed
    assert "secret" not in str(collected.spans)


def test_nothing_is_traced_outside_of_a_trace(collected: Receiver) -> None:
    with tracing.span("encoder.encode", None) as opened:
        assert opened is None
        assert tracing.traceparent() is None
        tracing.stages({"queue": 1})
    tracing.flush()
    assert collected.spans == []


def test_a_request_without_a_span_has_none_in_later_processes(receiver: Receiver) -> None:
    tracing.configure(TracingConfig(receiver.url, ratio=0.0), "ingress")
    with tracing.trace("GET /info", CLIENT) as opened:
        assert opened is None
        assert tracing.traceparent() is None
        with tracing.span("decode") as inner:
            assert inner is None
    tracing.flush()
    assert receiver.spans == []


def test_a_collector_that_is_not_there_fails_nothing() -> None:
    try:
        tracing.configure(TracingConfig("http://127.0.0.1:1"), "ingress")
        with tracing.trace("GET /info", None):
            pass
    finally:
        tracing.stop()


def test_off_records_nothing_and_does_without_the_sdk() -> None:
    program = """
        import sys
        from deployments.observe import tracing
        tracing.configure(None, "ingress")
        with tracing.trace("GET /info", "00-" + "a" * 32 + "-" + "b" * 16 + "-01") as opened:
            assert opened is None
            with tracing.span("decode", tracing.traceparent()):
                tracing.stages({"queue": 1})
            assert (tracing.traceparent(), tracing.trace_id()) == (None, None)
        assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(tracing.TracingNotInstalled, match=r"sam3-serve\[otel\]"):
        tracing.configure(TracingConfig("http://127.0.0.1:1"), "ingress")
