import asyncio
import json
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from serve_app.http.admission import Admission


class Inner:
    """An application that reads the body and answers when `go` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        self.working += 1
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def post(app: Any, method: str = "POST") -> tuple[list[Message], int]:
    """What is sent, and how often the body was asked for."""
    sent: list[Message] = []
    reads = 0

    async def receive() -> Message:
        nonlocal reads
        reads += 1
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "http", "method": method}, receive, send)
    return sent, reads


async def test_what_is_over_the_limit_is_refused_unread_and_the_others_are_answered() -> None:
    inner = Inner()
    app = Admission(inner, limit=2, retry_after_s=2.5)
    accepted = [asyncio.create_task(post(app)) for _ in range(2)]
    await asyncio.sleep(0)
    sent, reads = await post(app)
    assert reads == 0
    assert sent[0]["status"] == 503
    assert dict(sent[0]["headers"])[b"retry-after"] == b"3"
    assert "busy" in json.loads(sent[1]["body"])["message"]
    inner.go.set()
    for answers, _ in await asyncio.gather(*accepted):
        assert answers[0]["status"] == 200
    assert (await post(app))[0][0]["status"] == 200, "places are given back"


async def test_a_full_server_still_says_how_it_is() -> None:
    inner = Inner()
    app = Admission(inner, limit=1, retry_after_s=1)
    busy = asyncio.create_task(post(app))
    await asyncio.sleep(0)
    looks = asyncio.create_task(post(app, "GET"))
    await asyncio.sleep(0)
    assert inner.working == 2
    inner.go.set()
    await asyncio.gather(busy, looks)


async def test_who_leaves_gives_the_place_back() -> None:
    inner = Inner()
    app = Admission(inner, limit=1, retry_after_s=1)
    gone = asyncio.create_task(post(app))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    inner.go.set()
    assert (await post(app))[0][0]["status"] == 200
