"""The functions of CVAT, called as its server's `lambda_manager` calls a Nuclio dashboard (CVAT 2.x).

The class Function holds what that code expects of an item; `parse` reads a detection as it does.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import requests

from serve_app.http.tenants import keyfile
from tests.contract.conftest import Client, ServerFactory, own_server
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import HEIGHT, SQUARE, WIDTH, as_json, drawn, encoded, ring, scene

# pycocotools.mask.decode knows no numpy 2 yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

PICTURE = as_json(encoded(scene()))["value"]
LABELS = "ball=red circle, blue square"
INVOKE = "/api/function_invocations"
HEADERS = {
    "x-nuclio-project-name": "cvat",
    "x-nuclio-function-namespace": "nuclio",
    "x-nuclio-invoke-via": "domain-name",
    "X-Nuclio-Invoke-Timeout": "120s",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with own_server(tools="cvat", cvat_labels=LABELS) as address:
        yield address


def invoke(url: str, function: str, payload: dict[str, Any], expect: int = 200, **options: Any) -> Any:
    headers = {**HEADERS, "x-nuclio-function-name": function, "x-nuclio-path": "/"}
    return Client(url).post(INVOKE, payload, expect, headers=headers, **options)


def get(url: str, path: str, expect: int = 200, **options: Any) -> Any:
    answer = requests.get(url + path, headers=HEADERS, timeout=PATIENCE_S, **options)
    assert answer.status_code == expect, answer.text
    return answer.json()


def interact(url: str, expect: int = 200, **payload: Any) -> Any:
    payload = {"image": PICTURE, "pos_points": [], "neg_points": [], "obj_bbox": None, **payload}
    return invoke(url, "sam3-interactor", payload, expect)


class Function:
    """An item, read as `LambdaFunction.__init__` reads it."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.id = data["metadata"]["name"]
        annotations = data["metadata"]["annotations"]
        assert all(isinstance(value, str) for value in annotations.values())
        self.kind = annotations.get("type")
        spec = json.loads(annotations.get("spec") or "[]")
        self.labels = [label["name"] for label in spec]
        assert len(self.labels) == len(set(self.labels))
        assert all(label.get("type", "unknown") in ("mask", "unknown") for label in spec)
        self.state = data["status"]["state"]  # of older versions
        self.port = data["status"].get("httpPort")
        self.description = data["spec"]["description"]
        self.name = annotations.get("name", self.id)
        self.min_pos_points = int(annotations.get("min_pos_points", 1))
        self.min_neg_points = int(annotations.get("min_neg_points", -1))
        self.startswith_box = bool(annotations.get("startswith_box", False))
        self.startswith_box_optional = bool(annotations.get("startswith_box_optional", False))
        self.version = int(annotations.get("version", "1"))


def parse(shape: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """The mask of a detection: `parse_anno` cuts the last four numbers off."""
    left, top, right, bottom = shape["mask"][-4:]
    crop = np.array(shape["mask"][:-4]).reshape(bottom - top + 1, right - left + 1)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[top : bottom + 1, left : right + 1] = crop
    return mask


RED, BLUE = drawn("red"), drawn("blue")
FIRST = RED & (np.arange(HEIGHT)[:, None] < 130)


def test_the_functions_are_as_cvat_reads_them(url: str) -> None:
    listed = get(url, "/api/functions")
    functions = {name: Function(item) for name, item in listed.items()}
    assert {name: function.id for name, function in functions.items()} == {
        "sam3-interactor": "sam3-interactor",
        "sam3-detector": "sam3-detector",
        "sam3-tracker": "sam3-tracker",
    }
    interactor, detector = functions["sam3-interactor"], functions["sam3-detector"]
    assert (interactor.kind, detector.kind) == ("interactor", "detector")
    assert (interactor.version, interactor.min_pos_points, interactor.min_neg_points) == (2, 0, 0)
    assert (interactor.startswith_box, interactor.startswith_box_optional) == (False, True)
    assert detector.labels == ["ball", "blue square"]
    for name, item in listed.items():
        assert get(url, f"/api/functions/{name}") == item


def test_without_labels_there_is_no_detector(start_server: ServerFactory) -> None:
    with start_server(tools="cvat") as address:
        assert list(get(address, "/api/functions")) == ["sam3-interactor", "sam3-tracker"]
        assert "sam3-interactor" in invoke(address, "sam3-detector", {"image": PICTURE}, expect=404)["error"]
        assert "error" in get(address, "/api/functions/sam3-detector", expect=404)


def test_the_routes_are_there_only_where_they_are_switched_on(server: str) -> None:
    get(server, "/api/functions", expect=404)


def test_a_click_is_answered_by_a_mask_of_the_image(url: str) -> None:
    found = interact(url, pos_points=[[230, 70]])
    mask = np.array(found["mask"])
    assert mask.shape == (HEIGHT, WIDTH)
    assert set(np.unique(mask)) == {0, 1}
    assert np.array_equal(mask.astype(bool), BLUE)
    assert np.min(found["points"], axis=0).tolist() == [SQUARE[0] + 0.5, SQUARE[1] + 0.5]


@pytest.mark.parametrize(
    "prompt",
    [
        {"obj_bbox": [[28, 38], [112, 122]]},
        {"obj_bbox": [[112, 122], [28, 38]]},
        {"obj_bbox": [28, 38, 112, 122]},
        {"obj_bbox": [[28, 38], [112, 122]], "pos_points": [[70, 80]]},
        {"pos_points": [[70, 80], [71, 81]], "neg_points": [[150, 190]], "obj_bbox": []},
        {"pos_points": [[70.5, 80]], "neg_points": None},
    ],
)
def test_boxes_and_refinement(url: str, prompt: dict[str, Any]) -> None:
    assert np.array_equal(np.array(interact(url, **prompt)["mask"]).astype(bool), FIRST)


def test_a_box_between_any_two_corners_is_the_same_prompt() -> None:
    segmenter = FakeSegmenter()
    with own_server(segmenter, tools="cvat") as address:
        for box in ([[28, 38], [112, 122]], [[112, 122], [28, 38]], [28, 38, 112, 122]):
            interact(address, obj_bbox=box)
        interact(address, pos_points=[[70, 80]], neg_points=[[5, 5]])
    boxes = [asked.prompts[0].box for asked in segmenter.asked[:3]]  # type: ignore[union-attr]
    assert boxes == [(28, 38, 112, 122)] * 3
    assert segmenter.asked[3].prompts[0].points == ((70, 80, True), (5, 5, False))  # type: ignore[union-attr]
    assert segmenter.encoded == 1


def test_a_click_on_nothing_is_an_empty_mask(url: str) -> None:
    found = interact(url, pos_points=[[5, 5]])
    assert not np.any(found["mask"])
    assert found["points"] == []


def test_every_instance_of_every_label(url: str) -> None:
    shapes = invoke(url, "sam3-detector", {"image": PICTURE})
    assert [shape["label"] for shape in shapes] == ["ball", "ball", "blue square"]
    assert {shape["type"] for shape in shapes} == {"mask"}
    masks = [parse(shape) for shape in shapes]
    assert np.array_equal(masks[0] | masks[1], RED)
    assert np.array_equal(masks[2], BLUE)
    for shape in shapes:
        assert all(isinstance(number, int) for number in shape["mask"])
        assert shape["attributes"] == []
        # `conv_mask_to_poly` takes the points as they are.
        assert len(shape["points"]) % 2 == 0
        assert len(shape["points"]) >= 6


def test_a_threshold(url: str) -> None:
    assert len(invoke(url, "sam3-detector", {"image": PICTURE, "threshold": 0.895})) == 2
    assert invoke(url, "sam3-detector", {"image": PICTURE, "threshold": 1}) == []


def test_more_labels_than_a_request_of_the_model_holds(start_server: ServerFactory) -> None:
    labels = ",".join([*(f"no such {number}" for number in range(40)), "red"])
    with start_server(tools="cvat", cvat_labels=labels) as address:
        assert {shape["label"] for shape in invoke(address, "sam3-detector", {"image": PICTURE})} == {"red"}


def test_holes_stay_in_masks(start_server: ServerFactory) -> None:
    with start_server(tools="cvat") as address:
        picture = as_json(encoded(ring()))["value"]
        mask = np.array(interact(address, image=picture, pos_points=[[60, 80]])["mask"])
    assert mask[80, 60] == 1
    assert mask[80, 100] == 0


@pytest.mark.parametrize(
    ("function", "payload", "status", "say"),
    [
        ("sam3-interactor", {}, 422, "image: Field required"),
        ("sam3-interactor", {"image": PICTURE}, 422, "a click or a box"),
        ("sam3-interactor", {"image": PICTURE, "pos_points": [[1]]}, 422, "pos_points"),
        ("sam3-interactor", {"image": PICTURE, "pos_points": [["1", 2]]}, 422, "pos_points"),
        ("sam3-interactor", {"image": PICTURE, "obj_bbox": [[1, 2]]}, 422, "obj_bbox"),
        ("sam3-interactor", {"image": PICTURE, "obj_bbox": [1, 2, 3, "4"]}, 422, "obj_bbox"),
        ("sam3-interactor", {"image": PICTURE, "obj_bbox": "all"}, 422, "obj_bbox"),
        ("sam3-interactor", {"image": PICTURE, "pos_points": [[WIDTH * 2, 1]]}, 422, "outside the image"),
        ("sam3-interactor", {"image": "~", "pos_points": [[1, 2]]}, 400, "base64"),
        ("sam3-interactor", {"image": "", "pos_points": [[1, 2]]}, 400, "empty"),
        ("sam3-detector", {"image": PICTURE, "threshold": 2}, 422, "threshold"),
        ("sam3-detector", {"image": as_json(b"text")["value"]}, 400, "not an image"),
        ("other", {"image": PICTURE}, 404, "no such function"),
        ("", {"image": PICTURE}, 404, "no such function"),
    ],
)
def test_errors_are_in_the_dashboards_form(
    url: str, function: str, payload: Any, status: int, say: str
) -> None:
    refused = invoke(url, function, payload, expect=status)
    assert set(refused) == {"error"}
    assert say in refused["error"]


def test_keys_are_in_the_address_that_cvat_is_given(tmp_path: Path, start_server: ServerFactory) -> None:
    """`CVAT_NUCLIO_HOST=cvat:KEY@host`: its client makes Basic of it."""
    key_file = tmp_path / "keys.json"
    key = keyfile.add(key_file, "acme")
    segmenter = FakeSegmenter()
    with start_server(segmenter, tools="cvat", api_keys_file=key_file) as address:
        assert get(address.replace("//", f"//cvat:{key}@"), "/api/functions")
        assert interact(address.replace("//", f"//cvat:{key}@"), pos_points=[[70, 80]])["mask"]
        for path in ("/api/functions", "/api/functions/sam3-interactor"):
            assert get(address, path, expect=401) == {"error": "Unauthorized api_key"}
        interact(address, expect=401, pos_points=[[70, 80]])
    assert segmenter.tenants == ["acme"]


@pytest.mark.parametrize("labels", ["=a", "a=", "a=b=c"])
def test_labels_that_say_nothing_are_refused_at_the_start(start_server: ServerFactory, labels: str) -> None:
    with pytest.raises(ValueError, match="cvat_labels"), start_server(tools="cvat", cvat_labels=labels):
        pass
