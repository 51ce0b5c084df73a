from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.http.app import create_app
from serve_app.http.tenants import keyfile
from serve_app.label import service
from serve_app.label.classes import parse_classes
from serve_app.label.labeller import ModelChoice
from serve_app.label.labelling import Labelling
from serve_app.label.lists import SourceImage
from serve_app.label.objects import Rules
from serve_app.label.rows import LABELLED
from serve_app.label.service import Service, ServiceLost
from serve_app.model_file import read_models
from serve_app.settings import Settings
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.http_server import serving
from tests.support.scenes import CIRCLE, SECOND_CIRCLE, SQUARE, box_iou, numbered

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


@pytest.fixture
def segmenter() -> FakeSegmenter:
    return FakeSegmenter()


@pytest.fixture
def url(segmenter: FakeSegmenter) -> Iterator[str]:
    with serving(create_app(segmenter, Settings())) as address:
        yield address


@pytest.fixture
def images(tmp_path: Path) -> list[SourceImage]:
    """Twenty scenes, what is no image, and nothing."""
    for number in range(20):
        (tmp_path / f"{number:02d}.png").write_bytes(numbered(number))
    (tmp_path / "broken.png").write_bytes(b"no image")
    names = [path.name for path in sorted(tmp_path.iterdir())]
    return [SourceImage(str(tmp_path / name), name) for name in [*names, "gone.png"]]


def rows(asked: Service, images: Sequence[SourceImage], *classes: str) -> dict[str, dict[str, Any]]:
    labelling = Labelling(parse_classes(classes, 0.5), ModelChoice(), Rules())
    tables = list(asked.label(images, labelling))
    assert all(table.schema == LABELLED for table in tables)
    found = [row for table in tables for row in table.to_pylist()]
    assert len(found) == len(images)
    return {row["name"]: row for row in found}


def test_each_image_is_labelled_once_with_more_classes_than_a_request_may_have(
    url: str, images: list[SourceImage], segmenter: FakeSegmenter
) -> None:
    names = ["red circle", *(f"thing {number}" for number in range(20)), "blue square"]
    found = rows(Service(url), images, *names)
    assert "not an image" in found.pop("broken.png")["error"]
    assert "No such file" in found.pop("gone.png")["error"]
    assert len(found) == 20
    for row in found.values():
        objects = sorted((one["class"], one["box"]) for one in row["objects"])
        assert [name for name, _ in objects] == ["blue square", "red circle", "red circle"]
        for (_, box), truth in zip(objects, (SQUARE, CIRCLE, SECOND_CIRCLE), strict=True):
            assert box_iou(box, truth) > 0.95
        assert (row["width"], row["height"], row["error"]) == (320, 256, None)
    assert len(segmenter.asked) == 40


def test_a_busy_service_is_asked_again(
    url: str, images: list[SourceImage], segmenter: FakeSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deployments.protocol import Overloaded

    segmenter.error, segmenter.failures = Overloaded(), 3
    monkeypatch.setattr(service, "LONGEST_WAIT_S", 0.01)
    found = rows(Service(url, requests=2), images[:4], "red circle")
    assert [row["error"] for row in found.values()] == [None] * 4


def test_a_service_that_is_gone_ends_the_run(
    images: list[SourceImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PATIENCE_S", 0.0)
    with pytest.raises(ServiceLost, match="did not label"):
        rows(Service("http://127.0.0.1:9"), images[:1], "red circle")


def test_a_refused_key_ends_the_run_and_is_not_told(tmp_path: Path, images: list[SourceImage]) -> None:
    key = "s3k_0123456789-very-secret-0123456789"
    keyfile.add(tmp_path / "keys.json", "acme", key=key)
    settings = Settings(api_keys_file=tmp_path / "keys.json")
    with serving(create_app(FakeSegmenter(), settings)) as address:
        with pytest.raises(ServiceLost, match="401") as told:
            rows(Service(address, "s3k_wrong-wrong-wrong-wrong-wrong"), images[:1], "red circle")
        assert "wrong-wrong" not in str(told.value)
        assert rows(Service(address, key), images[:1], "red circle")["00.png"]["error"] is None


def test_an_error_of_the_service_about_one_image_stops_nothing(
    url: str, images: list[SourceImage], segmenter: FakeSegmenter
) -> None:
    segmenter.error, segmenter.failures = RuntimeError("unforeseen"), 1
    found = rows(Service(url, requests=1), images[:3], "red circle")
    assert [row["error"] is None for row in found.values()].count(False) == 1


def test_a_wait_that_the_service_asks_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(
        [httpx.Response(503, headers={"Retry-After": "7"}, json={"message": "busy"}), httpx.Response(200)]
    )
    slept: list[float] = []
    assert service._patiently(lambda: next(answers), slept.append).status_code == 200
    assert slept == [7.0]


def test_the_model_that_is_named_labels(segmenter: FakeSegmenter, images: list[SourceImage]) -> None:
    models = read_models(
        "base: {architecture: tiny, default: true}\ncars: {architecture: tiny, checkpoint: cars.pt}\n"
    )
    with serving(create_app(segmenter, Settings(models=models))) as address:
        found = rows(Service(address, model_id="cars"), images[:2], "red circle")
    assert {row["model"] for row in found.values()} == {"service cars"}
    assert set(segmenter.asked_models) == {"cars"}
