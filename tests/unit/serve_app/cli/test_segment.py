import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from serve_app.cli.addresses import free_ports
from serve_app.cli.main import main
from serve_app.cli.question import Question
from serve_app.http.app import create_app
from serve_app.settings import Settings
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.http_server import serving
from tests.support.scenes import CIRCLE, HEIGHT, SQUARE, WIDTH, encoded, scene

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving(create_app(FakeSegmenter(), Settings())) as url:
        yield url


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "scene.png"
    path.write_bytes(encoded(scene()))
    return path


def segment(picture: Path, *arguments: str) -> tuple[int, str, Path]:
    output = picture.parent / "out.png"
    done = CliRunner().invoke(
        main, ["segment", str(picture), "-o", str(output), *arguments], catch_exceptions=False
    )
    return done.exit_code, done.output, output


def corners(box: tuple[float, ...]) -> str:
    return ",".join(map(str, box))


def changed(picture: Path, output: Path, box: tuple[float, float, float, float]) -> float:
    """Share of the pixels within a box that the drawing changed."""
    before = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    after = np.asarray(Image.open(output).convert("RGB")).astype(int)
    x0, y0, x1, y1 = map(int, box)
    return float((np.abs(after - before).max(axis=2) > 8)[y0:y1, x0:x1].mean())


def test_a_text_finds_every_instance_and_draws_it(server: str, picture: Path) -> None:
    code, output, drawn = segment(picture, "--url", server, "--text", "red circle", "--text", "blue square")
    assert code == 0, output
    assert output.count("red circle: ") == 2
    assert output.count("blue square: ") == 1
    with Image.open(drawn) as image:
        assert image.size == (WIDTH, HEIGHT)
    assert changed(picture, drawn, CIRCLE) > 0.5
    assert changed(picture, drawn, SQUARE) > 0.9


def test_a_click_finds_one_object(server: str, picture: Path) -> None:
    code, output, drawn = segment(picture, "--url", server, "--point", "70,80")
    assert code == 0, output
    assert output.startswith("object: ")
    assert changed(picture, drawn, CIRCLE) > 0.5
    assert changed(picture, drawn, SQUARE) == 0


def test_a_box_finds_the_object_in_it(server: str, picture: Path) -> None:
    code, _, drawn = segment(picture, "--url", server, "--box", corners(SQUARE))
    assert code == 0
    assert changed(picture, drawn, SQUARE) > 0.9


def test_an_example_finds_its_like(server: str, picture: Path) -> None:
    code, output, _ = segment(picture, "--url", server, "--like", corners(CIRCLE))
    assert code == 0
    assert output.count("example: ") == 2


def test_masks_are_written_to_a_file_on_request(server: str, picture: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks.json"
    segment(picture, "--url", server, "--text", "blue square", "--masks", str(masks))
    (found,) = json.loads(masks.read_text())
    assert found["label"] == "blue square"
    assert found["rle"]["size"] == [HEIGHT, WIDTH]


def test_nothing_found_is_no_error(server: str, picture: Path) -> None:
    code, output, drawn = segment(picture, "--url", server, "--text", "green circle")
    assert code == 0
    assert "nothing found" in output
    assert drawn.exists()


def test_no_prompt_is_a_usage_error(server: str, picture: Path) -> None:
    code, output, _ = segment(picture, "--url", server)
    assert code == 2
    assert "--text" in output


def test_a_server_that_is_not_there(picture: Path) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    code, output, _ = segment(picture, "--url", url, "--text", "star")
    assert code == 1
    assert "no server at" in output
    assert "--local" in output


def test_a_servers_refusal_is_shown(server: str, picture: Path) -> None:
    texts = [part for number in range(17) for part in ("--text", f"thing {number}")]
    code, output, _ = segment(picture, "--url", server, *texts)
    assert code == 1
    assert "the server answered 422" in output


def test_a_file_that_is_no_image(server: str, tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("not an image")
    code, output, _ = segment(path, "--url", server, "--text", "star")
    assert code == 1
    assert "not an image" in output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--box", "1,2,3"),
        ("--point", "1"),
        ("--point", "a,b"),
        ("--box", "1,2,3,nan"),
        ("--threshold", "2"),
        ("--url", "ftp://x", "--text", "a"),
    ],
)
def test_numbers_and_addresses_are_checked(picture: Path, arguments: tuple[str, ...]) -> None:
    code, output, _ = segment(picture, *arguments)
    assert code != 0
    assert "Traceback" not in output


def test_questions_become_the_prompts_of_the_api() -> None:
    box = (10.0, 20.0, 30.0, 60.0)
    corners = {"x0": 10, "y0": 20, "x1": 30, "y1": 60}
    assert Question(texts=["a", "b"]).concepts() == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]
    assert Question(like=[box], unlike=[box]).concepts() == [
        {"type": "visual", "boxes": [corners, corners], "box_labels": [1, 0]}
    ]
    assert Question(texts=["a"]).clicks() == []
    assert Question(points=[(1, 2)], not_points=[(3, 4)], box=box).clicks() == [
        {
            "points": [{"x": 1, "y": 2, "positive": True}, {"x": 3, "y": 4, "positive": False}],
            "box": {"x": 20, "y": 40, "width": 20, "height": 40},
        }
    ]
