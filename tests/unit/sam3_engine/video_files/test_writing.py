"""A film has the pictures that it was given, at their times."""

from pathlib import Path

import numpy as np
import pytest

from sam3_engine.types import ImageSize
from sam3_engine.video_files.reading import Frame, open_video
from sam3_engine.video_files.writing import Film
from tests.support.video_files import number_of, numbered


def read(path: Path) -> list[Frame]:
    with open_video(path) as video:
        return list(video.frames())


def test_pictures_and_times_are_kept(tmp_path: Path) -> None:
    times = [0.0, 1 / 30, 0.5, 0.52, 3.25]
    with Film(tmp_path / "a.mp4", 30.0) as film:
        for picture, seconds in zip(numbered(5), times, strict=True):
            film.add(picture, seconds)
    frames = read(tmp_path / "a.mp4")
    assert [frame.seconds for frame in frames] == pytest.approx(times, abs=1e-4)
    assert [number_of(frame.pixels) for frame in frames] == list(range(5))


def test_odd_sides_lose_a_line(tmp_path: Path) -> None:
    with Film(tmp_path / "a.mp4", None) as film:
        for picture in numbered(3, 49, 65):
            film.add(picture, 0.1)  # one time for all: each still follows the one before
    frames = read(tmp_path / "a.mp4")
    assert [frame.size for frame in frames] == [ImageSize(48, 64)] * 3


def test_pictures_of_other_sizes_are_scaled(tmp_path: Path) -> None:
    with Film(tmp_path / "a.mp4", 25.0) as film:
        film.add(next(iter(numbered(1))), 0.0)
        film.add(np.full((200, 90, 3), 255, dtype=np.uint8), 0.04)
    frames = read(tmp_path / "a.mp4")
    assert [frame.size for frame in frames] == [ImageSize(48, 64)] * 2
    assert frames[1].pixels.mean() > 240
