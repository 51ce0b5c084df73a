"""`sam3-serve track`: a film and files of a drawn video, resumed after an interruption, and errors in one line."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from sam3_engine.video_files.reading import open_video
from serve_app.cli.main import main
from tests.support.video_files import rotated, write_sound, write_video

FRAMES = 12
RED, GREEN = (220, 30, 30), (30, 170, 60)


def picture(number: int) -> np.ndarray:
    frame = np.full((180, 240, 3), 205, dtype=np.uint8)
    cv2.circle(frame, (50 + 8 * number, 60), 26, RED, -1)
    cv2.circle(frame, (190 - 4 * number, 130), 26, GREEN, -1)
    return frame


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("video")
    return write_video(folder / "clip.mp4", (picture(number) for number in range(FRAMES)))


def track(video: Path, output: Path, *arguments: str) -> Result:
    command = ["track", str(video), "-o", str(output), "--device", "cpu", *arguments]
    return CliRunner().invoke(main, command, catch_exceptions=False)


def objects(path: Path) -> dict[int, dict[int, list[float]]]:
    """Boxes by frame and object, of a COCO file."""
    told = json.loads(path.read_text())
    found: dict[int, dict[int, list[float]]] = {one["frame"]: {} for one in told["images"]}
    for one in told["annotations"]:
        found[one["image_id"] - 1][one["track_id"]] = one["bbox"]
    return found


def inside(box: list[float], x: float, y: float) -> bool:
    return box[0] <= x <= box[0] + box[2] and box[1] <= y <= box[1] + box[3]


def test_a_concept_is_followed_into_a_film_and_files(video: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    every = ["--every", "1", "--format", "coco", "--format", "mot", "--format", "masks"]
    done = track(video, output, "--text", "red circle", *every)
    assert done.exit_code == 0, done.output
    found = objects(tmp_path / "out.json")
    assert len(found) == FRAMES
    assert all(list(boxes) == [1] and inside(boxes[1], 50 + 8 * frame, 60) for frame, boxes in found.items())
    assert len(np.loadtxt(tmp_path / "out.txt", delimiter=",")) == FRAMES
    assert np.array(Image.open(tmp_path / "out.masks" / "000003.png"))[60, 74] == 1
    with open_video(output) as film, open_video(video) as original:
        pairs = list(zip(film.frames(), original.frames(), strict=True))
    assert len(pairs) == FRAMES
    for drawn, plain in pairs:
        assert drawn.seconds == pytest.approx(plain.seconds, abs=1e-3)
        changed = np.abs(drawn.pixels.astype(int) - plain.pixels).max(axis=2) > 40
        assert changed[60, 50 + 8 * drawn.number - 20 : 50 + 8 * drawn.number + 20].mean() > 0.5
        assert not changed[125:135, 185 - 4 * drawn.number : 195 - 4 * drawn.number].any()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out.json", "out.masks", "out.mp4", "out.txt"]


def test_a_variable_rate_stays_in_the_film_and_in_the_file(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.54, 2.0]
    video = write_video(tmp_path / "variable.mp4", (picture(number) for number in range(5)), times=times)
    done = track(video, tmp_path / "out.mp4", "--point", "50,60", "--format", "coco")
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out.json").read_text())
    assert [one["seconds"] for one in told["images"]] == pytest.approx(times, abs=2e-3)
    with open_video(tmp_path / "out.mp4") as film:
        assert [frame.seconds for frame in film.frames()] == pytest.approx(times, abs=2e-3)


def test_clicks_and_boxes_begin_objects_in_their_frame(video: Path, tmp_path: Path) -> None:
    boxes = ["--box", "48,34,100,86", "--box", "156,104,208,156", "--frame", "3"]
    done = track(video, tmp_path / "out.mp4", *boxes, "--format", "coco")
    assert done.exit_code == 0, done.output
    found = objects(tmp_path / "out.json")
    assert [sorted(boxes) for boxes in list(found.values())[:4]] == [[], [], [], [1, 2]]
    assert inside(found[3][1], 74, 60)
    assert inside(found[3][2], 178, 130)


def test_points_are_in_the_upright_frame(video: Path, tmp_path: Path) -> None:
    turned = rotated(video, tmp_path / "turned.mp4", 90)
    # The red disc at (50, 60) of 240 x 180 is at (180 - 60, 50) of 180 x 240.
    done = track(turned, tmp_path / "out.mp4", "--point", "120,50", "--format", "coco")
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out.json").read_text())
    assert (told["images"][0]["height"], told["images"][0]["width"]) == (240, 180)
    assert inside(objects(tmp_path / "out.json")[0][1], 120, 50)


def test_a_damaged_video_is_followed_to_its_end_with_a_warning(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", (picture(n) for n in range(FRAMES)), codec="mjpeg")
    content = bytearray(whole.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    whole.write_bytes(content)
    done = track(whole, tmp_path / "out.mp4", "--point", "50,60")
    assert done.exit_code == 0, done.output
    assert "warning:" in done.output


REFUSED: dict[str, tuple[Callable[[Path, Path], Path], list[str], str]] = {
    "nothing to follow": (lambda video, _: video, [], "say what to follow"),
    "a point outside": (lambda video, _: video, ["--point", "999,1"], "outside the image"),
    "no such frame": (lambda video, _: video, ["--point", "5,5", "--frame", "99"], "no frame 99"),
    "negative points alone": (lambda video, _: video, ["--not-point", "5,5"], "needs a point"),
    "points and boxes": (
        lambda video, _: video,
        ["--point", "5,5", "--box", "1,1,9,9", "--box", "1,1,9,9"],
        "one box at most",
    ),
    "sound": (lambda _, folder: write_sound(folder / "a.m4a"), ["--text", "star"], "no video stream"),
    "text": (lambda _, folder: _text(folder / "a.mp4"), ["--text", "star"], "no video file"),
    "an empty phrase": (lambda video, _: video, ["--text", " "], "empty"),
}


def _text(path: Path) -> Path:
    path.write_text("no video\n" * 100)
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_mistakes_are_told_in_one_line(video: Path, tmp_path: Path, name: str) -> None:
    make, arguments, message = REFUSED[name]
    done = track(make(video, tmp_path), tmp_path / "out.mp4", *arguments)
    assert done.exit_code in (1, 2)
    assert message in done.output.splitlines()[-1]
    assert "Traceback" not in done.output
    assert not (tmp_path / "out.mp4").exists()
    assert not (tmp_path / ".out.mp4.tracking").exists()


@pytest.mark.parametrize(
    ("output", "message"), [("out.avi", "does not end in .mp4"), ("none/out.mp4", "no folder")]
)
def test_an_output_that_cannot_be_is_refused_at_once(
    video: Path, tmp_path: Path, output: str, message: str
) -> None:
    done = track(video, tmp_path / output, "--text", "star")
    assert done.exit_code == 2
    assert message in done.output


def test_files_are_overwritten_only_with_force(video: Path, tmp_path: Path) -> None:
    (tmp_path / "out.masks").mkdir()
    asked = ("--point", "50,60", "--format", "masks")
    done = track(video, tmp_path / "out.mp4", *asked)
    assert done.exit_code == 2
    assert "--force" in done.output
    assert track(video, tmp_path / "out.mp4", *asked, "--force").exit_code == 0
    assert len(list((tmp_path / "out.masks").iterdir())) == FRAMES


KILLED = """
import os, signal, sys
from serve_app.cli.main import main
from serve_app.track import run
from serve_app.track.journal import Journal
run.SESSION_EVERY = 4
add, lines = Journal.add, []
def add_and_die(journal, new, session=None):
    add(journal, new, session)
    lines.extend(new)
    if len(lines) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
Journal.add = add_and_die
main(sys.argv[1:])
"""


def test_a_run_that_is_killed_goes_on_with_the_same_ids(video: Path, tmp_path: Path) -> None:
    """It dies two frames after its state was saved."""
    asked = ["--text", "red circle", "--text", "green circle", "--format", "mot"]
    output, work = tmp_path / "out.mp4", tmp_path / ".out.mp4.tracking"
    command = [
        sys.executable,
        "-c",
        KILLED,
        "track",
        str(video),
        "-o",
        str(output),
        "--device",
        "cpu",
        *asked,
    ]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert (work / "session").exists()
    assert not output.exists()

    other = track(video, output, "--text", "star")
    assert (other.exit_code, "--restart" in other.output) == (1, True)
    assert track(video, output, *asked).exit_code == 0
    resumed = (tmp_path / "out.txt").read_text()
    assert track(video, tmp_path / "whole.mp4", *asked).exit_code == 0
    assert resumed == (tmp_path / "whole.txt").read_text()
    assert not work.exists()
