"""The description of all steps: megabytes that anybody may ask for and that never change, so they are made once.

The answer is kept with its ETag and compressed, and sent piece by piece, so that a client that does not read it holds
no copy of it. Clients without a key ask for it, so sending it counts among the bodies of such clients.
"""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from deployments.single_flight import SingleFlight
from deployments.workflows.protocol import WorkflowAnswer
from serve_app.http.around.etags import ASK_AGAIN, etag_of, is_known
from serve_app.http.around.standard import accepts_gzip
from serve_app.http.reading.arrival import Arrivals

PIECE_BYTES = 64 * 1024
GZIP_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Kept:
    """The JSON, plain and compressed, and its ETag."""

    plain: bytes
    compressed: bytes
    etag: str


class Description:
    """The kept answer of one ingress replica. For one event loop."""

    def __init__(self) -> None:
        self._kept: Kept | None = None
        self._flights: SingleFlight[Kept | WorkflowAnswer] = SingleFlight()

    async def get(self, ask: Callable[[], Awaitable[WorkflowAnswer]]) -> Kept | WorkflowAnswer:
        """The kept answer; else that of `ask`, which is kept if its status is 200. Concurrent requests ask once."""
        return self._kept or await self._flights.run("description", lambda: self._make(ask))

    async def _make(self, ask: Callable[[], Awaitable[WorkflowAnswer]]) -> Kept | WorkflowAnswer:
        answer = await ask()
        if answer.status != 200:
            return answer
        compressed = await asyncio.to_thread(gzip.compress, answer.body, GZIP_LEVEL, mtime=0)
        self._kept = Kept(answer.body, compressed, etag_of(answer.body))
        return self._kept


class KeptResponse(Response):
    """Sends the kept answer in an encoding that the client accepts, or 304 when the client has it already.

    Raises Overloaded while clients without a key have used up their share of bodies.
    """

    def __init__(self, kept: Kept, arrivals: Arrivals) -> None:
        super().__init__(media_type="application/json")
        self._kept = kept
        self._arrivals = arrivals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        asked = Headers(scope=scope)
        kept = {"ETag": self._kept.etag, "Cache-Control": ASK_AGAIN, "Vary": "Accept-Encoding"}
        if is_known(self._kept.etag, asked.get("if-none-match", "")):
            await Response(status_code=304, headers=kept)(scope, receive, send)
            return
        compressed = accepts_gzip(asked)
        body = memoryview(self._kept.compressed if compressed else self._kept.plain)
        self.headers.update(kept | {"Content-Length": str(len(body))})
        if compressed:
            self.headers["Content-Encoding"] = "gzip"
        with self._arrivals.begin(None):
            async with asyncio.timeout(self._arrivals.timeout_s):
                start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                await send(start)
                for at in range(0, len(body), PIECE_BYTES):
                    piece = bytes(body[at : at + PIECE_BYTES])
                    more = at + PIECE_BYTES < len(body)
                    await send({"type": "http.response.body", "body": piece, "more_body": more})
