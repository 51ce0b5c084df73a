import json
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from deployments.protocol import DeadlineExceeded, Overloaded, UnknownImage
from deployments.store.sessions import SessionsFull
from deployments.video.protocol import NoFile, OutOfOrder, SessionConflict, UnknownSession
from deployments.workflows.definitions import UnknownWorkflow
from sam3_engine.errors import (
    DeviceFull,
    ImageTooLarge,
    StaleEmbedding,
    UnreadableImage,
    UnreadableVideo,
    VideoTooLarge,
)
from serve_app.http.errors import (
    TABLE,
    BadImage,
    Forbidden,
    InList,
    InvalidRequest,
    MalformedHeaders,
    MalformedModelId,
    NoSuchFunction,
    NoSuchTask,
    NotKept,
    NoVideo,
    NoWorkflows,
    RateLimited,
    SlowBody,
    TooLarge,
    Unauthorized,
    UnknownModel,
    UnsupportedEncoding,
    UnsupportedFormat,
    answer_error,
)
from serve_app.http.sam3.concept import Sam3SegmentationRequest

CASES: list[tuple[Exception, int, str]] = [
    (BadImage("why"), 400, "why"),
    (UnreadableImage("why"), 400, "why"),
    (UnsupportedFormat("gif", ["rle"]), 400, "format 'gif' is not supported: use one of rle"),
    (MalformedModelId("why"), 400, "why"),
    (ClientDisconnect(), 400, "the upload was cut: the connection closed before the whole body had arrived"),
    (Unauthorized(), 401, "Unauthorized api_key"),
    (UnknownImage("x"), 404, "image 'x' is not in the cache: send the image again"),
    (NotKept("x"), 404, "image 'x' is not in the cache"),
    (UnknownModel("why"), 404, "why"),
    (UnknownWorkflow("why"), 404, "why"),
    (NoWorkflows("why"), 501, "why"),
    (NoVideo(), 501, "videos are switched off on this server: start it with SAM3_VIDEO=true"),
    (UnreadableVideo("why"), 400, "why"),
    (
        UnknownSession("x"),
        404,
        "there is no video session 'x': it was deleted, or nobody asked for it for too long",
    ),
    (NoFile(), 409, "this session has no video file: its frames are sent by .../frames"),
    (OutOfOrder("why", 3), 409, "why"),
    (SessionConflict("why"), 409, "why"),
    (VideoTooLarge("why"), 413, "why"),
    (
        SessionsFull(),
        429,
        "there is no room for another video session: delete one, or wait until idle ones have ended",
    ),
    (NoSuchFunction(["a", "b"]), 404, "there is no such function: the functions are a, b"),
    (
        NoSuchTask(),
        404,
        "there is no such task: it was replaced by a newer one, or ended long ago, or runs elsewhere",
    ),
    (MalformedHeaders(), 400, "the headers hold bytes that are not UTF-8"),
    (Forbidden("why"), 403, "why"),
    (SlowBody(), 408, "the upload is too slow: the request's body did not arrive in time"),
    (TooLarge("why"), 413, "why"),
    (ImageTooLarge("why"), 413, "why"),
    (UnsupportedEncoding("why"), 415, "why"),
    (RateLimited(0.2), 429, "too many requests for this API key: slow down"),
    (DeviceFull(), 503, "the GPU has too little free memory for this request: try again later"),
    (Overloaded(), 503, "the server is busy: too many requests are waiting"),
    (DeadlineExceeded(), 504, "the request took too long and was given up"),
]


def body_of(error: Exception) -> Any:
    answer = answer_error(error)
    assert answer is not None
    return json.loads(bytes(answer.body))


@pytest.mark.parametrize(("error", "status", "message"), CASES, ids=lambda value: type(value).__name__)
def test_the_table(error: Exception, status: int, message: str) -> None:
    answer = answer_error(error)
    assert answer is not None
    assert answer.status_code == status
    assert body_of(error)["message"] == message
    further = {Unauthorized: {"status"}, OutOfOrder: {"expected_frame"}}
    assert set(body_of(error)) == {"message"} | further.get(type(error), set())


def test_every_row_is_tested() -> None:
    assert {type(error) for error, _, _ in CASES} == set(TABLE)


def test_a_subclass_is_answered_like_its_base() -> None:
    class Narrower(UnreadableImage):
        pass

    class Both(RuntimeError, UnknownImage):  # as Ray wraps a replica's error
        pass

    assert body_of(Narrower("why")) == {"message": "why"}
    answer = answer_error(Both("x"))
    assert answer is not None
    assert answer.status_code == 404


@pytest.mark.parametrize("error", [RuntimeError("x"), StaleEmbedding("x"), KeyError("x"), TimeoutError()])
def test_an_unexpected_error_has_no_row(error: Exception) -> None:
    assert answer_error(error) is None
    assert answer_error(InList(0, error)) is None


@pytest.mark.parametrize(("seconds", "header"), [(0.1, "1"), (1.0, "1"), (1.5, "2"), (30.0, "30")])
def test_retry_after_is_in_whole_seconds(seconds: float, header: str) -> None:
    for error in (Overloaded(seconds), RateLimited(seconds)):
        answer = answer_error(error)
        assert answer is not None
        assert answer.headers["retry-after"] == header


def test_an_error_in_a_list_names_the_image() -> None:
    assert body_of(InList(2, BadImage("why"))) == {"message": "image 2 of the list: why"}
    assert body_of(InList(2, DeadlineExceeded())) == {"message": "the request took too long and was given up"}
    answer = answer_error(InList(0, Overloaded(7)))
    assert answer is not None
    assert answer.headers["retry-after"] == "7"


def test_invalid_requests_hold_no_input() -> None:
    secret = "SECRET"
    document = {"image": {"type": "base64", "value": 5}, "prompts": [{"text": [secret], "boxes": [secret]}]}
    with pytest.raises(ValidationError) as raised:
        Sam3SegmentationRequest.model_validate(document)
    answer = body_of(InvalidRequest.of(raised.value))
    assert secret not in json.dumps(answer)
    assert {tuple(item["loc"]) for item in answer["detail"]} == {
        ("body", "image"),
        ("body", "prompts", 0, "text"),
        ("body", "prompts", 0, "boxes", 0),
    }
    assert all(set(item) == {"loc", "msg", "type"} for item in answer["detail"])
