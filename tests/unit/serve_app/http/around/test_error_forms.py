from typing import Any

import orjson
import pytest
from starlette.types import Message, Receive, Scope, Send

from deployments.protocol import Timings
from serve_app.http.around.error_forms import ErrorForms
from serve_app.http.around.exchange import Exchange


async def call(path: str, status: int, *parts: bytes, root_path: str = "") -> tuple[list[Message], bytes]:
    """The messages that leave the middleware, and their whole body, for an answer in these parts."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"3"), (b"content-length", b"1")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, part in enumerate(parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    forms: dict[str, Any] = {
        "tool": lambda status, message, name: {"code": status, "text": message, "name": name}
    }
    state = {"exchange": Exchange(Timings("i"), "m", error="Overloaded")}
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "root_path": root_path,
        "headers": [],
        "state": state,
    }
    await ErrorForms(app, forms=forms)(scope, receive, send)
    return sent, b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize(
    ("path", "root"), [("/tool/predict", ""), ("/tool", ""), ("/below/tool/x", "/below")]
)
async def test_an_error_gets_the_tools_form_and_keeps_status_and_headers(path: str, root: str) -> None:
    sent, body = await call(path, 503, b'{"mess', b'age":"busy"}', root_path=root)
    assert orjson.loads(body) == {"code": 503, "text": "busy", "name": "Overloaded"}
    headers = dict(sent[0]["headers"])
    assert sent[0]["status"] == 503
    assert headers[b"retry-after"] == b"3"
    assert headers[b"content-length"] == str(len(body)).encode()


async def test_the_places_of_what_is_wrong_are_named() -> None:
    detail = [
        {"loc": ["body", "tasks", 0], "msg": "Field required", "type": "missing"},
        {"loc": ["path"], "msg": "the path is not UTF-8", "type": "value_error"},
    ]
    _, body = await call("/tool/predict", 422, orjson.dumps({"detail": detail}))
    assert orjson.loads(body)["text"] == "tasks.0: Field required; the path is not UTF-8"


async def test_answers_pass_as_they_come() -> None:
    sent, body = await call("/tool/predict", 200, b'{"message":', b'"found"}')
    assert len(sent) == 3
    assert body == b'{"message":"found"}'


async def test_other_paths_keep_their_errors() -> None:
    for path in ("/", "/tools/predict", "/sam3/tool"):
        _, body = await call(path, 404, b'{"message":"none"}')
        assert body == b'{"message":"none"}'
