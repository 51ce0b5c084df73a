"""The record of one request and its answer, which all parts of the HTTP layer share, and the headers made from it."""

import asyncio
import re
import time
import uuid
from dataclasses import dataclass, field

from starlette.requests import Request

from deployments.fairness.flows import Ticket
from deployments.protocol import HITS, Timings
from sam3_engine.types import ImageSize

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
STAGES = ("decode", "encode", "prompt", "post")


@dataclass(slots=True)
class Exchange:
    """The record of one request, made at its first byte. It is `scope["state"]["exchange"]`."""

    timings: Timings
    model_id: str
    query_key: str | None = None
    """The API key of the query string, which is taken out of the scope before anything can log it."""
    tool_key: str | None = None
    """The API key of a header that only the annotation tools' routes read."""
    started: float = field(default_factory=time.perf_counter)
    bytes_in: int = 0
    """Bytes of the body received so far."""
    tenant: str | None = None
    """The caller's tenant, once it is known."""
    ticket: Ticket | None = None
    """Its place, once it has one."""
    prompts: int = 0
    """Prompts for each image."""
    model: str = ""
    """The name of the model that it asks, once it is known to be one."""
    texts: list[str] = field(default_factory=list)
    sizes: list[ImageSize] = field(default_factory=list)
    """Sizes of the images in the answer."""
    image_ids: list[str] = field(default_factory=list)
    more_headers: dict[str, str] = field(default_factory=dict)
    """Further headers of the answer, by lower-case name."""
    trace_id: str | None = None
    """The id of its OpenTelemetry trace, if one is recorded."""
    error: str = ""
    """The class of the error that the request failed with."""
    timer: asyncio.Timeout | None = None
    """Ends the request."""

    def give(self, seconds: float) -> None:
        """Let the request, whose answer is a stream, go on for so many seconds from now."""
        if self.timer is not None:
            self.timer.reschedule(asyncio.get_running_loop().time() + seconds)

    @property
    def seconds(self) -> float:
        """Seconds since the request came."""
        return time.perf_counter() - self.started

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that every answer carries."""
        texts = {
            "x-request-id": self.timings.request_id,
            "x-processing-time": f"{self.seconds:.6f}",
            "x-model-id": self.model_id,
            "server-timing": self.server_timing(),
            **self.more_headers,
        }
        return [(name.encode("latin-1"), text.encode("latin-1")) for name, text in texts.items()]

    def server_timing(self) -> str:
        """`Server-Timing`: milliseconds by stage, the image's cache tier, and the total."""
        entries = []
        for stage in dict.fromkeys((*STAGES, *self.timings.stages)):
            if stage == "encode" and self.timings.cache is not None:
                entries.append(f"cache;desc={'hit' if self.timings.cache in HITS else 'miss'}")
            if self.timings.cache is not None or stage in self.timings.stages:
                entries.append(f"{stage};dur={self.timings.stages.get(stage, 0.0) * 1000:.2f}")
        if self.timings.cache is not None:
            entries.append(f"tier;desc={self.timings.cache}")
        entries.append(f"total;dur={self.seconds * 1000:.2f}")
        return ", ".join(entries)


def exchange_of(request: Request) -> Exchange:
    """The exchange of a request that came through the middleware."""
    exchange = request.scope["state"]["exchange"]
    assert isinstance(exchange, Exchange)
    return exchange


def request_id_of(given: str | None) -> str:
    """The client's id for its request if it is safe in a header and a log line, else a new id."""
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
