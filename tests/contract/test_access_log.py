"""One line of JSON per request: enough to see how it went, and nothing of its contents."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from serve_app.http.tenants import keyfile
from tests.contract.conftest import ServerFactory
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import HEIGHT, WIDTH, as_json, encoded, scene

KEY = "s3k_0123456789-very-secret-0123456789"
IMAGE = as_json(encoded(scene()))
CONCEPT, VISUAL = "/sam3/concept_segment", "/sam3/visual_segment"
TEXT, IMAGE_ID = "red circle of my secret project", "patient-4711"
FIELDS = {
    "time", "request_id", "tenant", "method", "route", "status", "seconds", "model", "cache", "prompts", "images",
    "stages", "bytes_in", "bytes_out",
}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def lines(path: Path) -> Callable[[], list[dict[str, Any]]]:
    return lambda: [json.loads(line) for line in path.read_text().splitlines()]


def post(url: str, route: str, **document: Any) -> requests.Response:
    return requests.post(url + route, json=document, headers={"X-Request-ID": "find-me"}, timeout=PATIENCE_S)


def test_one_line_says_how_a_request_went(
    start_server: ServerFactory, path: Path, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    with start_server(access_log=str(path)) as url:
        answer = post(url, CONCEPT, image=[IMAGE, IMAGE], prompts=[{"type": "text", "text": TEXT}] * 3)
        assert answer.status_code == 200
        sent = int(answer.request.headers["Content-Length"])
    (line,) = lines()
    assert line.keys() == FIELDS
    expected = {
        "request_id": "find-me", "tenant": "default", "method": "POST", "route": CONCEPT, "status": 200,
        "model": "sam3/sam3_final", "cache": "miss", "prompts": 3, "images": [[WIDTH, HEIGHT]] * 2, "bytes_in": sent,
    }  # fmt: skip
    assert expected.items() <= line.items()
    assert line["stages"]["encode"] > 0
    assert line["seconds"] > 0
    assert line["bytes_out"] == int(answer.headers["Content-Length"])


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"prompts": []}, 422, "InvalidRequest"),
        ({"image_id": IMAGE_ID, "prompts": [{"type": "text", "text": TEXT}]}, 404, "UnknownImage"),
        (
            {"image": {"type": "base64", "value": "%%"}, "prompts": [{"type": "text", "text": TEXT}]},
            400,
            "BadImage",
        ),
    ],
)
def test_a_failure_is_named_but_not_quoted(
    start_server: ServerFactory,
    path: Path,
    lines: Callable[[], list[dict[str, Any]]],
    body: dict[str, Any],
    status: int,
    error: str,
) -> None:
    with start_server(access_log=str(path)) as url:
        assert post(url, CONCEPT, **body).status_code == status
    (line,) = lines()
    assert (line["status"], line["error"]) == (status, error)


def test_texts_of_clients_are_not_logged_by_default(
    start_server: ServerFactory, tmp_path: Path, path: Path, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    keys = tmp_path / "keys.json"
    keyfile.add(keys, "acme", key=KEY)
    with start_server(access_log=str(path), api_keys_file=keys) as url:
        prompts = [{"type": "text", "text": TEXT}]
        for query, extra in ((f"?api_key={KEY}&comment={TEXT}", {}), ("", {"api_key": KEY})):
            good = {"image": IMAGE, "image_id": IMAGE_ID, "prompts": prompts, **extra}
            assert post(url, CONCEPT + query, **good).status_code == 200
            assert post(url, VISUAL + query, image_id=IMAGE_ID, **extra).status_code == 200
            assert post(url, CONCEPT + query, **{**good, "format": TEXT}).status_code == 400
        requests.get(f"{url}/nowhere/{IMAGE_ID}?api_key={KEY}", timeout=PATIENCE_S)
        requests.request("PROPFIND", f"{url}/info", timeout=PATIENCE_S)
        post(url, CONCEPT, image=IMAGE, prompts=prompts, api_key="s3k_wrong-key-wrong-key")
    left = path.read_text()
    for secret in (
        KEY,
        "wrong-key",
        "PROPFIND",
        TEXT,
        "red circle",
        IMAGE_ID,
        "4711",
        IMAGE["value"][:60],
        "comment",
    ):
        assert secret not in left
    assert [line["status"] for line in lines()] == [200, 200, 400, 200, 200, 400, 404, 405, 401]
    assert [line["tenant"] for line in lines()] == ["acme"] * 6 + [None] * 3


def test_texts_and_ids_are_logged_on_request(
    start_server: ServerFactory, path: Path, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    with start_server(access_log=str(path), access_log_details=True) as url:
        post(url, CONCEPT, image=IMAGE, image_id=IMAGE_ID, prompts=[{"type": "text", "text": TEXT}])
    (line,) = lines()
    assert (line["texts"], line["image_ids"]) == ([TEXT], [IMAGE_ID])


def test_half_a_surrogate_pair_is_logged_too(
    start_server: ServerFactory, path: Path, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    with start_server(access_log=str(path), access_log_details=True) as url:
        answer = post(url, CONCEPT, image=IMAGE, prompts=[{"type": "text", "text": "red \ud800"}])
    (line,) = lines()
    assert line["status"] == answer.status_code
    assert line["texts"] == ["red ?"] if answer.status_code == 200 else line["error"]


def test_an_unforeseen_error_has_its_line(
    start_server: ServerFactory, path: Path, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    with start_server(FakeSegmenter(error=RuntimeError("boom")), access_log=str(path)) as url:
        post(url, CONCEPT, image=IMAGE, prompts=[{"type": "text", "text": TEXT}])
    assert [(line["status"], line["error"]) for line in lines()] == [(500, "RuntimeError")]


def test_off_is_off_and_stdout_is_standard_output(
    start_server: ServerFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    with start_server(access_log="off") as url:
        requests.get(url + "/info", timeout=PATIENCE_S)
    assert capfd.readouterr().out == ""
    with start_server(access_log="stdout") as url:
        requests.get(url + "/info", timeout=PATIENCE_S)
    assert json.loads(capfd.readouterr().out)["route"] == "/info"


def test_a_file_that_is_rotated_away_is_made_anew(
    start_server: ServerFactory, path: Path, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    with start_server(access_log=str(path)) as url:
        for route in ("/info", "/readiness"):
            requests.get(url + route, timeout=PATIENCE_S)
            while not path.exists() or not path.read_text():  # it is written when the answer is out
                time.sleep(0.01)
            if route == "/info":
                path.rename(path.with_suffix(".1"))
    assert [line["route"] for line in lines()] == ["/readiness"]


def test_a_file_that_cannot_be_written_stops_nothing(start_server: ServerFactory, tmp_path: Path) -> None:
    with start_server(access_log=str(tmp_path / "no" / "such" / "folder")) as url:
        assert requests.get(url + "/info", timeout=PATIENCE_S).status_code == 200
