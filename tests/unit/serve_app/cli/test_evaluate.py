"""`sam3-serve evaluate`, as typed, on drawn scenes whose truth is known."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from pycocotools import mask as coco

from sam3_engine.types import ImageSize
from serve_app.cli.main import main
from serve_app.http.app import create_app
from serve_app.settings import Settings
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.http_server import serving
from training.concepts import ALL_CONCEPTS
from training.samples import matching
from training.scenes import draw_scene

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
CLASSES = ("circle", "star", "red")
SIZE = ImageSize(200, 240)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """truth.json, and images of which one lies in a folder."""
    folder = tmp_path_factory.mktemp("scenes")
    (folder / "more").mkdir()
    concepts = [concept for name in CLASSES for concept in ALL_CONCEPTS if str(concept) == name]
    images: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    for number in range(6):
        scene = draw_scene(30_000_000 + number, SIZE)
        name = "more/0.png" if number == 0 else f"{number}.png"
        Image.fromarray(scene.picture(SIZE)).save(folder / name)
        images.append({"id": number, "file_name": name, "height": SIZE.height, "width": SIZE.width})
        for category, concept in enumerate(concepts, 1):
            for index in matching(scene, concept):
                rle = coco.encode(np.asfortranarray(scene.mask(index, SIZE), dtype=np.uint8))
                mask = {"size": list(SIZE), "counts": rle["counts"].decode()}
                mark = {"id": len(marks), "image_id": number, "category_id": category, "segmentation": mask}
                marks.append(mark)
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    document = {"images": images, "annotations": marks, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(document))
    return folder


def typed(folder: Path, *words: str) -> Result:
    truth = () if "--ground-truth" in words else ("--ground-truth", str(folder / "truth.json"))
    return CliRunner().invoke(main, ["evaluate", *truth, *words], catch_exceptions=False)


def refused(folder: Path, *words: str) -> str:
    done = typed(folder, *words)
    assert done.exit_code != 0
    assert "Traceback" not in done.output
    assert "should not happen" not in done.output
    return done.stderr.splitlines()[-1]


def test_the_trained_model_is_told_to_be_better(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    done = typed(
        scenes,
        "--model",
        "noise=tiny-random",
        "--model",
        "tiny",
        "--json",
        str(out),
        "--plot",
        str(tmp_path / "p.svg"),
    )
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    noise, tiny = (found["models"][label] for label in ("noise", "tiny"))
    assert found["images"] == 6
    assert list(tiny["classes"]) == list(CLASSES)
    assert tiny["overall"]["f1"] > 0.8
    assert tiny["overall"]["ap"] > 0.7
    assert tiny["overall"]["presence"] > 0.8
    assert noise["overall"]["f1"] < 0.2
    assert tiny["against_the_first"]["f1"]["low"] > 0
    assert "B against A: AP +" in done.stdout
    assert "loading noise" in done.stderr
    assert (tmp_path / "p.svg").read_text().startswith("<svg")


def test_a_checkpoints_size_is_recognised(scenes: Path, tmp_path: Path) -> None:
    from sam3_engine.bundled import BUNDLED_TINY
    from sam3_engine.checkpoint_files.checkpoint import open_checkpoint

    state = {name: one.read() for name, one in open_checkpoint(BUNDLED_TINY).tensors.items()}
    torch.save({"model": state}, tmp_path / "mine.pt")
    done = typed(scenes, "--model", str(tmp_path / "mine.pt"), "--limit", "1", "--prompt", "star=circle")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("A  mine.pt  (tiny.weights-")


def test_an_image_that_is_not_there_is_named_and_left_out(scenes: Path, tmp_path: Path) -> None:
    document = json.loads((scenes / "truth.json").read_text())
    document["images"] = [document["images"][0], {**document["images"][1], "file_name": "gone.png"}]
    (tmp_path / "truth.json").write_text(json.dumps(document))
    words = (
        "--ground-truth",
        str(tmp_path / "truth.json"),
        "--images",
        str(scenes),
        "--model",
        "tiny-random",
    )
    done = typed(scenes, *words)
    assert done.exit_code == 0, done.output
    assert f"note: left out: {scenes / 'gone.png'}: No such file" in done.stderr


def test_images_of_another_folder(scenes: Path, tmp_path: Path) -> None:
    said = refused(scenes, "--model", "tiny", "--images", str(tmp_path))
    assert "none of its 6 images is there" in said
    assert "--images names the folder" in said


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"images": []}', '{"images": [{"id": 1, "file_name": "a"}]}']
)
def test_a_file_that_is_no_truth(scenes: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(content)
    assert "truth.json" in refused(scenes, "--ground-truth", str(path), "--model", "tiny")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((), "name 1 to 8 models"),
        (("--model", "/nowhere/a.pt"), "a.pt: no checkpoint at /nowhere/a.pt"),
        (("--model", "tiny", "--prompt", "dog=dog"), "there is no class 'dog'"),
        (("--model", "tiny", "--plot", "p.png"), "use one of .svg .html"),
        (("--model", "tiny", "--json", "/nowhere/f.json"), "there is no folder /nowhere"),
        (("--model", "tiny", "--threshold", "0.01"), "0.01"),
        (("--url", "http://127.0.0.1:9"), "the service did not label"),
    ],
)
def test_wrong_words(
    scenes: Path, words: tuple[str, ...], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.label.service.PATIENCE_S", 0.0)
    assert what in refused(scenes, *words)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(create_app(FakeSegmenter(), Settings())) as address:
        yield address


def test_a_running_servers_models(scenes: Path, url: str) -> None:
    done = typed(scenes, "--url", url, "--model", "sam3/sam3_final", "--limit", "2")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("A  sam3/sam3_final  (service ")
    assert "'mine/9'" in refused(scenes, "--url", url, "--model", "mine/9", "--limit", "2")


def test_a_broken_second_model_is_told_before_the_first_one_works(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "b.pt").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    done = typed(scenes, "--model", "tiny", "--model", str(tmp_path / "b.pt"))
    assert done.exit_code == 1
    assert "b.pt is a Git LFS pointer" in done.stderr
    assert "images" not in done.stderr
