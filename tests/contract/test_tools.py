"""The routes of all annotation tools in the OpenAPI document."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from serve_app.http.tenants import keyfile
from serve_app.http.tools.rooms import ROUTERS
from tests.contract.conftest import ServerFactory, own_server
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import HEIGHT, WIDTH, as_json, encoded, scene

# pycocotools.mask.decode knows no numpy 2 yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

ALL = ",".join(ROUTERS)
CONTENT = as_json(encoded(scene()))["value"]
FUNCTIONS = {"click": "sam3-interactor", "labels": "sam3-detector", "track": "sam3-tracker"}
Operations = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with own_server(tools=ALL, cvat_labels="red circle") as address:
        yield address


def document(url: str) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{url}/openapi.json", timeout=PATIENCE_S).json()
    return found


def of_tools(described: dict[str, Any]) -> dict[str, Operations]:
    starts = ("/label-studio/", "/api/function", "/v1/")
    return {path: methods for path, methods in described["paths"].items() if path.startswith(starts)}


def test_every_example_works(url: str) -> None:
    tried = 0
    session: dict[str, str] = {}
    for path, methods in of_tools(document(url)).items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        for name, example in content.get("application/json", {}).get("examples", {}).items():
            headers = {"x-nuclio-function-name": FUNCTIONS[name]} if "function" in path else None
            body = example["value"] | (session if "session_id" in example["value"] else {})
            answer = requests.post(url + path, json=body, headers=headers, timeout=PATIENCE_S)
            assert answer.status_code == 200, (path, name, answer.text)
            if path == "/v1/video/init":
                session = {"session_id": answer.json()["data"]["session_id"]}
            tried += 1
    assert tried >= 12


def test_every_reference_is_defined(url: str) -> None:
    described = document(url)
    schemas = described["components"]["schemas"]

    def check(part: Any) -> None:
        if isinstance(part, dict):
            if isinstance(reference := part.get("$ref"), str):
                assert reference.removeprefix("#/components/schemas/") in schemas
            for value in part.values():
                check(value)
        elif isinstance(part, list):
            for value in part:
                check(value)

    check(described)


def test_every_route_has_a_tag_and_its_tools_form_of_errors(url: str) -> None:
    forms = {"Label Studio": "LabelStudioError", "CVAT": "CvatError", "X-AnyLabeling": "XAnyLabelingError"}
    for methods in of_tools(document(url)).values():
        for operation in methods.values():
            (tag,) = operation["tags"]
            for status in ("400", "401", "422", "503"):
                schema = operation["responses"][status]["content"]["application/json"]["schema"]
                assert schema["$ref"].endswith(f"/{forms[tag]}")


CLICKS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "/label-studio/predict": (
        {
            "tasks": [{"data": {"image": f"data:image/png;base64,{CONTENT}"}}],
            "label_config": '<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i">'
            '<Label value="blue"/></BrushLabels></View>',
        },
        {},
    ),
    "/api/function_invocations": (
        {"image": CONTENT, "pos_points": [[230, 70]]},
        {"x-nuclio-function-name": "sam3-interactor"},
    ),
    "/v1/predict": (
        {
            "model": "segment_anything_3_clicks",
            "image": CONTENT,
            "params": {"marks": [{"type": "point", "data": [230, 70], "label": 1}]},
        },
        {},
    ),
}
"""A request of each tool that is answered: its body and headers."""


def refused(answer: requests.Response, status: int, say: str) -> None:
    """Asserts that an error has the form of its path's tool."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    part = urlsplit(answer.url).path.split("/")[1]
    if part == "label-studio":
        assert set(body) == {"error", "detail"}
        message = body["error"]
    elif part == "api":
        assert set(body) == {"error"}
        message = body["error"]
    else:
        assert set(body) == {"success", "error"}
        assert body["success"] is False
        assert set(body["error"]) == {"code", "message"}
        message = body["error"]["message"]
    assert say in message


@pytest.mark.parametrize("path", CLICKS)
def test_whichever_part_of_the_server_refuses_the_form_is_the_tools(
    start_server: ServerFactory, path: str
) -> None:
    """Parts in front of the routes refuse requests too."""
    above = path.rpartition("/")[0]
    with start_server(tools=ALL, max_body_bytes=100_000) as address:

        def ask(method: str, path: str = path, **options: Any) -> requests.Response:
            return requests.request(method, address + path, timeout=PATIENCE_S, **options)

        refused(ask("GET"), 405, "POST")
        assert ask("GET").headers["allow"] == "POST"
        refused(ask("POST", f"{above}/no-such", json={}), 404, "no such route")
        refused(ask("POST", f"{above}/%ff", json={}), 422, "not UTF-8")
        refused(ask("POST", data=b"x" * 100_001), 413, "larger than 100000 bytes")
        refused(ask("POST", data=b"x", headers={"Content-Encoding": "br"}), 415, "Content-Encoding")
        squeezed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        refused(ask("POST", data=b"x", headers=squeezed), 422, "gzip")
        refused(ask("POST", json={}, headers={"X-Name": b"\xff"}), 400, "not UTF-8")
        refused(ask("POST", json={}, headers={"Host": "labels.example"}), 403, "SAM3_ALLOWED_HOSTS")


WRONG: tuple[Any, ...] = (None, True, -1, 1e308, 10**30, "", "x", "\0", [], [None], {}, {"a": 1})
LABEL_STUDIO_CLICK = {
    "type": "keypointlabels",
    "to_name": "i",
    "original_width": WIDTH,
    "original_height": HEIGHT,
    "is_positive": True,
    "value": {"x": 50.0, "y": 50.0, "width": 1.0, "height": 1.0, "keypointlabels": ["blue"]},
}


def spoiled(value: Any) -> Iterator[Any]:
    """The value with each of its parts, at any depth, replaced by each wrong one or left out."""
    yield from WRONG
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        left = {**value} if isinstance(value, dict) else [*value]
        del left[name]
        yield left
        for wrong in spoiled(part):
            changed = {**value} if isinstance(value, dict) else [*value]
            changed[name] = wrong
            yield changed


@pytest.mark.parametrize("path", CLICKS)
def test_no_wrong_part_of_a_request_is_an_error_of_the_server(url: str, path: str) -> None:
    body, headers = CLICKS[path]
    if path.startswith("/label-studio"):
        body = {**body, "project": "1.1", "params": {"context": {"result": [LABEL_STUDIO_CLICK]}}}
    elif path.startswith("/api"):
        body = {**body, "neg_points": [[5, 5]], "obj_bbox": [[190, 30], [270, 110]]}
    session, statuses = requests.Session(), set()
    for wrong in [body, *spoiled(body)]:
        answer = session.post(url + path, json=wrong, headers=headers, timeout=PATIENCE_S)
        statuses.add(answer.status_code)
        if answer.status_code != 200:
            assert answer.status_code < 500, (wrong, answer.text)
            refused(answer, answer.status_code, "")
    assert {200, 400, 422} <= statuses


@pytest.mark.parametrize("path", CLICKS)
def test_what_the_model_cannot_answer_has_the_tools_form(start_server: ServerFactory, path: str) -> None:
    body, headers = CLICKS[path]
    slow, broken = FakeSegmenter(delay_s=PATIENCE_S), FakeSegmenter(error=RuntimeError("broken"))
    for segmenter, seconds, status, say in (
        (slow, 0.3, 504, "took too long"),
        (broken, PATIENCE_S, 500, "Internal error."),
    ):
        with start_server(segmenter, tools=ALL, request_timeout_s=seconds) as address:
            answer = requests.post(address + path, json=body, headers=headers, timeout=PATIENCE_S)
            segmenter.hurried = True
        refused(answer, status, say)


def test_the_other_routes_keep_their_form(url: str) -> None:
    for path in ("/sam3/no-such", "/v2/predict", "/label-studios/predict"):
        assert set(requests.get(url + path, timeout=PATIENCE_S).json()) == {"message"}


def test_with_keys_every_route_needs_one(tmp_path: Any, start_server: ServerFactory) -> None:
    key_file = tmp_path / "keys.json"
    keyfile.add(key_file, "acme")
    with start_server(tools=ALL, api_keys_file=key_file) as address:
        described = document(address)
        for path, methods in of_tools(described).items():
            for method, operation in methods.items():
                answer = requests.request(
                    method, address + re.sub(r"{\w+}", "x", path), json={}, timeout=PATIENCE_S
                )
                assert answer.status_code == 401
                named = {name for scheme in operation["security"] for name in scheme}
                assert named == {"ApiKeyQuery", "Bearer", "BasicPassword", "TokenHeader"}
                assert named == set(described["components"]["securitySchemes"])


def test_a_file_is_encoded_once_whichever_tools_send_it(start_server: ServerFactory) -> None:
    segmenter = FakeSegmenter()
    click = {"points": [{"x": 230, "y": 70, "positive": True}]}
    ours = {"image": {"type": "base64", "value": CONTENT}, "prompts": click}
    with start_server(segmenter, tools=ALL) as address:
        asked = {"/sam3/visual_segment": (ours, {}), **CLICKS}
        for number, (path, (body, headers)) in enumerate(asked.items()):
            answer = requests.post(address + path, json=body, headers=headers, timeout=PATIENCE_S)
            assert answer.status_code == 200, answer.text
            assert f"cache;desc={'hit' if number else 'miss'}" in answer.headers["server-timing"]
    assert segmenter.encoded == 1


def test_a_name_that_is_no_tool_is_refused_at_the_start(start_server: ServerFactory) -> None:
    with pytest.raises(ValueError, match="tools"), start_server(tools="label-studio,vott"):
        pass


@pytest.mark.parametrize("origin", ["labels:8080", "ftp://labels", "http://labels/path", "http://a@labels"])
def test_an_origin_is_a_scheme_a_host_and_a_port(start_server: ServerFactory, origin: str) -> None:
    with (
        pytest.raises(ValueError, match="tool_origins"),
        start_server(tools="label-studio", tool_origins=origin),
    ):
        pass
