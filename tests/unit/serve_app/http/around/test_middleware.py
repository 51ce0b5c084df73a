import asyncio
import logging
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from serve_app.http.around.middleware import ExchangeMiddleware, LastResort, take_secrets
from serve_app.http.around.paths import without_doubled_start
from serve_app.http.errors import BadImage


def stack(app: Any, timeout_s: float = 60, max_body_bytes: int = 1000, answer_request_id: bool = True) -> Any:
    inner = LastResort(app, max_body_bytes=max_body_bytes)
    return ExchangeMiddleware(inner, timeout_s=timeout_s, model_id="m", answer_request_id=answer_request_id)


async def call(
    app: Any, chunks: tuple[bytes, ...] = (b"",), headers: dict[str, str] | None = None, query: bytes = b""
) -> tuple[Message, bytes, Scope]:
    """Call an ASGI app: its first message, its body, and the scope as it was left."""
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": query,
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    rest = list(chunks)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": rest.pop(0), "more_body": bool(rest)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0], b"".join(message.get("body", b"") for message in sent[1:]), scope


async def read_all(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(await read_all(receive))(scope, receive, send)


def headers_of(start: Message) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in start["headers"]}


async def test_headers_are_added_beside_the_apps_own() -> None:
    start, body, _ = await call(stack(echo), (b"ab", b"c"), {"x-request-id": "mine"})
    assert (start["status"], body) == (200, b"abc")
    headers = headers_of(start)
    assert headers["content-length"] == "3"
    assert headers["x-request-id"] == "mine"
    assert headers["x-model-id"] == "m"


async def test_the_request_id_may_be_left_to_the_server_in_front() -> None:
    start, _, _ = await call(stack(echo, answer_request_id=False))
    assert "x-request-id" not in headers_of(start)
    assert "x-processing-time" in headers_of(start)


@pytest.mark.parametrize("given", ["mine", "a b", "x" * 129])
async def test_where_the_server_in_front_answers_the_id_the_log_holds_the_same(given: str) -> None:
    noting = Noting()
    await call(stack(noting, answer_request_id=False), headers={"x-request-id": given})
    assert noting.scope["state"]["exchange"].timings.request_id == given


class Noting:
    """Echoes, and notes its scope."""

    scope: Scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        await echo(scope, receive, send)


@pytest.mark.parametrize(
    ("root", "path", "meant"),
    [
        ("", "//sam3/images", "/sam3/images"),
        ("", "////", "/"),
        ("", "/sam3/images//a", "/sam3/images//a"),
        ("/sam", "/sam//sam3/images", "/sam/sam3/images"),
        ("/sam/", "/sam/sam3/images", "/sam/sam3/images"),
    ],
)
def test_only_the_start_of_a_path_is_mended(root: str, path: str, meant: str) -> None:
    scope: Scope = {"type": "http", "path": path, "root_path": root}
    without_doubled_start(scope)
    assert scope["path"] == meant


@pytest.mark.parametrize(
    ("chunks", "declared", "status"),
    [
        ((b"x" * 1000,), None, 200),
        ((b"x" * 1001,), None, 413),
        ((b"x" * 600, b"x" * 600), None, 413),
        ((b"x",), "1001", 413),
        ((b"x",), "9" * 5000, 413),
        ((b"x",), "-1", 200),
        ((b"x",), "many", 200),
    ],
)
async def test_the_body_is_limited_while_it_comes(
    chunks: tuple[bytes, ...], declared: str | None, status: int
) -> None:
    headers = {"content-length": declared} if declared else {}
    start, body, _ = await call(stack(echo), chunks, headers)
    assert start["status"] == status
    assert (b"larger than 1000 bytes" in body) == (status == 413)


async def test_a_declared_size_over_the_limit_is_refused_unread() -> None:
    async def unread(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("the app was called")

    start, _, _ = await call(stack(unread), (b"x",), {"content-length": "1001"})
    assert start["status"] == 413


async def test_the_deadline_cancels_the_work() -> None:
    cancelled = []

    async def slow(_scope: Scope, _receive: Receive, _send: Send) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    start, body, _ = await call(stack(slow, timeout_s=0.01))
    assert (start["status"], cancelled) == (504, [True])
    assert b"took too long" in body


async def test_a_slow_body_meets_the_deadline_too() -> None:
    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(receive)

    async def never() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    await stack(reading, timeout_s=0.01)(scope, never, send)
    assert sent[0]["status"] == 504


async def test_a_timeout_of_the_apps_own_is_an_error_like_any_other() -> None:
    async def own(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise TimeoutError("of its own")

    start, body, _ = await call(stack(own))
    assert (start["status"], body) == (500, b'{"message":"Internal error."}')


async def test_foreseen_and_unforeseen_errors(caplog: pytest.LogCaptureFixture) -> None:
    def raising(error: Exception) -> Any:
        async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
            raise error

        return app

    with caplog.at_level(logging.ERROR):
        start, body, _ = await call(stack(raising(BadImage("why"))))
        assert (start["status"], body) == (400, b'{"message":"why"}')
        assert not caplog.records
        start, body, _ = await call(
            stack(raising(RuntimeError("inner detail"))), headers={"x-request-id": "id-1"}
        )
    assert (start["status"], body) == (500, b'{"message":"Internal error."}')
    assert "id-1" in caplog.text
    assert "inner detail" in caplog.text
    assert headers_of(start)["x-request-id"] == "id-1"


async def test_an_error_after_the_answer_began_is_passed_on() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse({})(scope, receive, send)
        raise RuntimeError("late")

    with pytest.raises(RuntimeError, match="late"):
        await call(stack(late))


async def test_other_protocols_pass_untouched() -> None:
    seen = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    scope: Scope = {"type": "lifespan"}
    await stack(app)(scope, None, None)
    assert seen == [{"type": "lifespan"}]


@pytest.mark.parametrize(
    ("query", "key", "left"),
    [
        (b"", None, b""),
        (b"a=1&b=2", None, b"a=1&b=2"),
        (b"api_key=K", "K", b""),
        (b"a=1&api_key=K&b=2", "K", b"a=1&b=2"),
        (b"api%5Fkey=K", "K", b""),
        (b"api_key=&a=1", None, b"a=1"),
        (b"api_key=K&api_key=L", "K", b""),
        (b"service_secret=S&a=1", None, b"a=1"),
        (b"api_key=%C3%BC", "ü", b""),
    ],
)
def test_secrets_are_taken_out_of_the_query(query: bytes, key: str | None, left: bytes) -> None:
    scope: Scope = {"query_string": query}
    assert take_secrets(scope) == key
    assert scope["query_string"] == left
