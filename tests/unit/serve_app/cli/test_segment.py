import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from sam3_engine.bundled import BUNDLED_TINY
from sam3_engine.checkpoint_files.checkpoint import open_checkpoint
from serve_app.cli.addresses import free_ports
from serve_app.cli.main import main
from serve_app.cli.question import Question
from serve_app.http.app import create_app
from serve_app.model_file import read_models
from serve_app.settings import Settings
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.http_server import serving
from tests.support.plain_server import plain_server
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


def test_warnings_of_an_answer_are_on_stderr_one_a_line(server: str, picture: Path) -> None:
    output = picture.parent / "out.png"
    texts = ["--text", "red circle", "--text", "red circle " * 16, "--text", "red " * 33]
    done = CliRunner().invoke(main, ["segment", str(picture), "-o", str(output), "--url", server, *texts])
    assert done.exit_code == 0, done.output
    first, second = done.stderr.splitlines()
    assert first.startswith("warning: red circle red circle")
    assert "has 32 tokens, and the model reads only the first 30" in first
    assert "has 33 tokens" in second
    assert "warning: " not in done.stdout


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
    assert "no sam3-serve at" in output
    assert "--local" in output


def test_a_servers_refusal_is_told_in_words(server: str, picture: Path) -> None:
    code, output, drawn = segment(picture, "--url", server, "--text", "star", "--text", "a" * 1001)
    assert code == 1
    assert output == (
        "Error: the server answered 422: prompts 1, text: String should have at most 1000 characters\n"
    )
    assert not drawn.exists()


def test_more_texts_than_a_request_may_have_are_split(server: str, picture: Path) -> None:
    texts = [f"{colour} circle" for colour in ["green"] * 16 + ["red"]]
    code, output, _ = segment(
        picture, "--url", server, *(part for text in texts for part in ("--text", text))
    )
    assert code == 0, output
    assert output.count("red circle: ") == 2


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("-o", "nowhere/out.png"), "there is no folder nowhere"),
        (("-o", "out.xyz"), "out.xyz has .xyz: use one of"),
        (("-o", "out"), "out has no extension"),
        (("-o", "."), "no extension"),
        (("-o", "scene.png"), "scene.png is a file that this command uses already"),
        (("-o", "old.png"), "old.png exists: choose another name, or pass --force"),
        (("-o", "folder.png"), "folder.png is a folder"),
        (("--masks", "nowhere/m.json"), "there is no folder nowhere"),
        (("--masks", "old.png"), "old.png exists"),
        (("--masks", "out.png"), "uses already"),
        (("--masks", "folder.png"), "is a folder"),
    ],
)
@pytest.mark.parametrize("place", ["--local", "--url=http://127.0.0.1:1"])
def test_outputs_are_checked_before_the_model_is_asked(
    picture: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str], meant: str, place: str
) -> None:
    monkeypatch.chdir(picture.parent)
    (picture.parent / "old.png").write_text("mine")
    (picture.parent / "folder.png").mkdir()
    monkeypatch.setattr("serve_app.cli.backends.Local", None)
    code, output, _ = segment(picture, place, "--text", "star", *arguments)
    assert code == 2, output
    assert meant in output
    assert (picture.parent / "old.png").read_text() == "mine"


def test_force_overwrites(server: str, picture: Path) -> None:
    drawn, masks = picture.parent / "out.png", picture.parent / "masks.json"
    for path in (drawn, masks):
        path.write_text("old")
    arguments = ("--url", server, "--text", "blue square", "--masks", str(masks))
    assert segment(picture, *arguments)[0] == 2
    assert (drawn.read_text(), masks.read_text()) == ("old", "old")
    assert segment(picture, *arguments, "--force")[0] == 0
    with Image.open(drawn) as image:
        assert image.size == (WIDTH, HEIGHT)
    assert len(json.loads(masks.read_text())) == 1
    assert {each.name for each in picture.parent.iterdir()} == {"scene.png", "out.png", "masks.json"}


OTHER_SERVICES = {
    "html": (200, "text/html", b"<html>hello</html>"),
    "nothing": (200, "text/plain", b""),
    "other JSON": (200, "application/json", b'{"hello": 1}'),
    "a list": (200, "application/json", b"[1, 2]"),
    "wrong predictions": (200, "application/json", b'{"prompt_results": [{"predictions": [{}]}]}'),
    "wrong masks": (
        200,
        "application/json",
        b'{"prompt_results": [{"predictions": [{"confidence": 1, "masks": 7}]}]}',
    ),
    "a wrong confidence": (
        200,
        "application/json",
        b'{"prompt_results": [{"predictions": [{"confidence": "x", "masks": {"size": [1, 1], "counts": "1"}}]}]}',
    ),
    "bytes": (200, "text/plain", b"\xff\xfe\x00\x80"),
    "an error page": (502, "text/html", b"<html>\n<b>Bad Gateway</b>\n</html>"),
    "an error without a word": (500, "text/plain", b""),
    "an odd 422": (422, "application/json", b'{"detail": [{"no": "loc"}]}'),
    "a redirect": (302, "text/html", b""),
    "no HTTP": (0, "", b"SSH-2.0-OpenSSH_9\r\n"),
    "a cut answer": (0, "", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
    "a closed connection": (0, "", b""),
}


@pytest.mark.parametrize("kind", OTHER_SERVICES)
def test_another_service_at_the_address_is_told_in_one_line(picture: Path, kind: str) -> None:
    with other_service(*OTHER_SERVICES[kind]) as url:
        code, output, drawn = segment(picture, "--url", url, "--text", "star")
    assert code == 1
    assert output.startswith("Error: ")
    assert len(output.splitlines()) == 1, output
    assert not drawn.exists()


@contextmanager
def other_service(status: int, kind: str, body: bytes) -> Iterator[str]:
    """A server that gives every request the same answer. status 0: the body is all that it sends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if status:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with plain_server(Handler) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    "url",
    [
        "localhost",
        "localhost:9001",
        "http://",
        "http://[::1",
        "http://a b",
        "http://x:port",
        "http://x:99999",
        "http://x:0",
        "ftp://x",
        "",
        "http://x/with space",
        "http://ü.example",
        "file:///etc/passwd",
        "http://user:secret@x",
        "http://x/?a=b",
    ],
)
@pytest.mark.parametrize("command", ["segment", "top"])
def test_a_malformed_address_is_a_usage_error(picture: Path, url: str, command: str) -> None:
    image = [str(picture), "--text", "star"] if command == "segment" else []
    done = CliRunner().invoke(main, [command, *image, "--url", url])
    assert done.exit_code == 2, done.output
    assert "Invalid value for '--url'" in done.output
    assert "expected an address such as http://127.0.0.1:9001" in done.output


@pytest.mark.parametrize("key", ["a\nb", "schl\u00fcssel", "a b"])
def test_a_key_that_no_header_can_carry(server: str, picture: Path, key: str) -> None:
    code, output, _ = segment(picture, "--url", server, "--text", "star", "--api-key", key)
    assert code == 2
    assert "the API key holds a character that no key has" in output


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("--point", "46000,190"), "the point (46000, 190) lies outside the image, which has"),
        (("--not-point", "1,1", "--box", "9000,0,9001,5"), "lies outside the image"),
        (("--like", "9000,0,9001,5"), "the box from (9000, 0) to (9001, 5) lies outside the image"),
        (("--like", "-5,-5,-1,-1"), "the box from (-5, -5) to (-1, -1) lies outside the image"),
        (("--text", "\udcff\udcfe"), "a text is not valid UTF-8: its character 1 is '\\udcff'"),
        (("--text", ""), "needs a text or at least one box"),
        (("--text", "  "), "needs a text or at least one box"),
    ],
)
def test_prompts_that_mean_nothing_are_told_before_the_model_is_asked(
    picture: Path, arguments: tuple[str, ...], meant: str
) -> None:
    code, output, _ = segment(picture, "--url", "http://127.0.0.1:1", *arguments)
    assert code == 2
    assert meant in output


def test_a_checkpoint_of_ones_own_is_loaded_in_this_process(picture: Path, tmp_path: Path) -> None:
    tensors = open_checkpoint(BUNDLED_TINY).tensors
    head = {
        name: one.read() for name, one in tensors.items() if name.startswith("detector.segmentation_head.")
    }
    torch.save({"model": head}, tmp_path / "tuned.pt")
    out = ("-o", str(picture.parent / "tuned.png"))
    asked = ["segment", str(picture), "--text", "star", "--local", "--model", "tiny", "--device", "cpu", *out]
    weights = ["--checkpoint", str(tmp_path / "tuned.pt"), "--base-checkpoint", str(BUNDLED_TINY)]
    done = CliRunner().invoke(main, [*asked, *weights])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(main, [*asked, *weights[:3], str(tmp_path / "nowhere.pt"), "--force"])
    assert done.exit_code == 1
    assert "nowhere.pt" in done.output


@pytest.mark.parametrize("option", ["--checkpoint", "--base-checkpoint", "--device"])
def test_a_server_has_its_own_models(picture: Path, option: str) -> None:
    done = CliRunner().invoke(main, ["segment", str(picture), "--text", "star", option, "tiny"])
    assert done.exit_code == 2
    assert f"{option}: a server has its own models; pass --local" in done.output


def test_a_device_that_is_not_there_is_one_line(picture: Path) -> None:
    done = CliRunner().invoke(
        main,
        ["segment", str(picture), "--text", "star", "--local", "-o", str(picture.parent / "out.png")],
        env={"SAM3_DEVICE": "cuda:97"},
    )
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert len(done.output.splitlines()) == 1


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
        ("--threshold", "nan"),
        ("--box", "1,2,3,inf"),
        ("--point", "1e300,1"),
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


def test_a_model_of_the_server_is_asked_by_its_name(picture: Path) -> None:
    segmenter = FakeSegmenter()
    models = read_models(
        "base: {architecture: tiny, default: true}\ncars: {architecture: tiny, checkpoint: cars.pt}\n"
    )
    with serving(create_app(segmenter, Settings(models=models))) as url:
        for chosen in (["--model", "cars"], []):
            options = ["--text", "red circle", "--point", "70,80", "--force", "--url", url, *chosen]
            status, said, _ = segment(picture, *options)
            assert status == 0, said
        assert segmenter.asked_models == ["cars", "cars", "base", "base"]
        status, said, _ = segment(picture, "--text", "red", "--url", url, "--force", "--model", "cats")
    assert status == 1
    assert "it serves base, sam3/sam3_final, cars" in said
