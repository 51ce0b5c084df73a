"""A failing request leaves its key, and its image, nowhere: not in answers, logs or access logs."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from serve_app.http.tenants import keyfile
from tests.contract.conftest import ServerFactory
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, encoded, scene

SECRET = "s3k_0123456789-very-secret-0123456789"
SERVICE_SECRET = "service-secret-0123456789"
IMAGE = as_json(encoded(scene()))
ROUTE = "/sam3/concept_segment"
PROMPTS = [{"type": "text", "text": "red"}]


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    """All that any logger of this process writes, access logs included."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.DEBUG)
    loggers = [logging.getLogger(), logging.getLogger("uvicorn"), logging.getLogger("uvicorn.access")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    logging.getLogger("urllib3").setLevel(logging.WARNING)  # the client's side of the test
    yield stream
    logging.getLogger("urllib3").setLevel(logging.NOTSET)
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.mark.parametrize("known", [True, False], ids=["known-key", "wrong-key"])
def test_nothing_secret_is_left_behind(
    tmp_path: Path, start_server: ServerFactory, logs: io.StringIO, known: bool
) -> None:
    path = tmp_path / "keys.json"
    keyfile.add(path, "acme", key=SECRET if known else "s3k_another-key-another-key")
    answers = []
    segmenter = FakeSegmenter(error=RuntimeError("boom"))
    with start_server(segmenter, api_keys_file=path) as url:
        secret = f"api_key={SECRET}&service_secret={SERVICE_SECRET}&a=1"
        good = {"image": IMAGE, "prompts": PROMPTS}
        for query, headers, extra in (
            (f"?{secret}", {}, {}),
            (f"?api%5Fkey={SECRET}", {}, {}),
            ("", {"Authorization": f"Bearer {SECRET}"}, {}),
            ("", {}, {"api_key": SECRET}),
        ):
            bodies = (
                {**good, **extra},
                {**good, "prompts": [], **extra},
                {**good, "image": {"type": "base64", "value": "%" + SECRET}, **extra},
                {**good, "model_id": "sam3/none", **extra},
                {**good, "api_key": {"nested": SECRET}},
            )
            answers += [
                requests.post(url + ROUTE + query, json=body, headers=headers, timeout=PATIENCE_S)
                for body in bodies
            ]
            raw = b'{"api_key": "' + SECRET.encode() + b'", broken'
            headers = {**headers, "Content-Type": "application/json"}
            answers.append(requests.post(url + ROUTE + query, data=raw, headers=headers, timeout=PATIENCE_S))
            answers.append(requests.get(f"{url}/nowhere{query}", headers=headers, timeout=PATIENCE_S))
    statuses = {answer.status_code for answer in answers}
    assert statuses == ({500, 422, 404, 401} if known else {404, 401})
    left = logs.getvalue() + "".join(answer.text + str(answer.headers) for answer in answers)
    assert "POST /sam3/concept_segment" in left  # the access log is among the searched files
    if known:
        assert "unforeseen error" in left
    for secret in (SECRET, SERVICE_SECRET, IMAGE["value"][:60]):
        assert secret not in left


def test_an_internal_error_is_logged_under_its_id(start_server: ServerFactory, logs: io.StringIO) -> None:
    with start_server(FakeSegmenter(error=RuntimeError("the cause"))) as url:
        body = {"image": IMAGE, "prompts": PROMPTS}
        answer = requests.post(
            url + ROUTE, json=body, headers={"X-Request-ID": "find-me"}, timeout=PATIENCE_S
        )
    assert answer.json() == {"message": "Internal error."}
    assert "find-me" in logs.getvalue()
    assert "the cause" in logs.getvalue()


def test_the_key_file_holds_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = keyfile.add(path, "acme")
    assert key not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
