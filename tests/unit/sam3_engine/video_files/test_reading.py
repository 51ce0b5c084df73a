"""Video files of all kinds: each is read as defined, or refused with a reason."""

import io
import subprocess
import sys
import textwrap
from pathlib import Path

import av
import numpy as np
import pytest

from sam3_engine.errors import UnreadableVideo, VideoTooLarge
from sam3_engine.types import ImageSize
from sam3_engine.video_files.reading import Limits, open_video
from tests.support.video_files import number_of, numbered, rotated, write_sound, write_video

FAST = {"preset": "ultrafast"}
FRAMES = 3000
"""Of a long video."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Path:
    return write_video(folder / "plain.mp4", numbered(30))


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx-vp9"),
        ("a.avi", "mjpeg"),
        ("a.ts", "libx264"),
    ],
)
def test_frames_come_in_the_order_of_presentation(folder: Path, name: str, codec: str) -> None:
    path = write_video(folder / name, numbered(30), codec=codec)
    with open_video(path) as video:
        frames = list(video.frames())
    assert video.damage is None
    assert [number_of(frame.pixels) for frame in frames] == [number % 12 for number in range(30)]
    assert [frame.number for frame in frames] == list(range(30))
    assert [frame.seconds for frame in frames] == pytest.approx(
        [number / 25 for number in range(30)], abs=2e-3
    )
    assert frames[0].size == ImageSize(48, 64)


def test_a_file_says_what_it_holds(plain: Path) -> None:
    with open_video(plain) as video:
        assert video.info.size == ImageSize(48, 64)
        assert (video.info.rate, video.info.frames) == (25, 30)
        assert video.info.seconds == pytest.approx(1.2)


def test_an_open_file_is_read_as_its_path(plain: Path) -> None:
    with plain.open("rb") as file, open_video(file) as video:
        assert len(list(video.frames())) == 30


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_frames_of_a_turned_phone_are_upright(folder: Path, plain: Path, degrees: int) -> None:
    with open_video(rotated(plain, folder / f"{degrees}.mp4", degrees)) as video:
        frame = next(video.frames())
    stored = next(iter(numbered(1)))
    upright = np.rot90(stored, -degrees // 90)  # counter-clockwise
    assert frame.pixels.shape == upright.shape
    assert np.abs(frame.pixels.astype(int) - upright).mean() < 12


def test_a_matrix_that_is_no_rotation_turns_nothing(folder: Path, plain: Path) -> None:
    content = bytearray(rotated(plain, folder / "none.mp4", 0).read_bytes())
    matrix = content.find(b"tkhd") + 4 + 4 + 20 + 16
    content[matrix : matrix + 36] = bytes(36)
    with open_video(io.BytesIO(content)) as video:
        assert next(video.frames()).size == ImageSize(48, 64)


def test_a_variable_rate_keeps_its_times(folder: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.54, 2.0]
    path = write_video(folder / "variable.mp4", numbered(5), times=times)
    with open_video(path) as video:
        frames = list(video.frames())
    assert [frame.seconds for frame in frames] == pytest.approx(times, abs=2e-3)
    assert [frame.number for frame in frames] == list(range(5))


def test_times_begin_at_the_first_frame(folder: Path) -> None:
    path = write_video(folder / "late.mkv", numbered(3), times=[7.0, 7.1, 7.2])
    with open_video(path) as video:
        assert [frame.seconds for frame in video.frames()] == pytest.approx([0, 0.1, 0.2], abs=2e-3)


def test_reading_goes_on_from_any_frame(plain: Path) -> None:
    with open_video(plain) as video:
        frames = list(video.frames(first=23))
    assert [frame.number for frame in frames] == list(range(23, 30))
    assert number_of(frames[0].pixels) == 23 % 12
    with open_video(plain) as video:
        assert list(video.frames(first=30)) == []


@pytest.mark.parametrize("share", [0.9, 0.5])
def test_a_cut_file_gives_the_frames_before_the_cut_and_tells(folder: Path, share: float) -> None:
    whole = write_video(folder / "whole.mkv", numbered(60), options={"g": "5"})
    cut = folder / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    with open_video(cut) as video:
        frames = list(video.frames())
    assert 60 * share / 2 < len(frames) < 60
    assert [number_of(frame.pixels) for frame in frames[:-1]] == [n % 12 for n in range(len(frames) - 1)]


@pytest.mark.parametrize(
    ("name", "codec"), [("tells.mkv", "libx264"), ("tells.webm", "libvpx-vp9"), ("tells.flv", "libx264")]
)
def test_a_cut_file_that_says_its_seconds_alone_tells(folder: Path, name: str, codec: str) -> None:
    path = write_video(folder / name, numbered(60), codec=codec, options={"g": "5"})
    with open_video(path) as video:
        assert video.info.frames is None
        assert len(list(video.frames())) == 60
    assert video.damage is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with open_video(path) as video:
        assert len(list(video.frames())) < 50
    assert video.damage is not None


def test_a_whole_file_of_a_variable_rate_is_not_cut(folder: Path) -> None:
    for name, times in (
        ("held.mkv", [0.0, 0.04, 3.0, 6.0]),
        ("late_held.mkv", [7.0, 7.1, 8.0]),
        ("one.mkv", [0.0]),
    ):
        path = write_video(folder / name, numbered(len(times)), times=times)
        with open_video(path) as video:
            assert len(list(video.frames())) == len(times)
        assert video.damage is None


def test_a_cut_file_that_had_its_index_in_front_tells(folder: Path) -> None:
    whole = folder / "front.mp4"
    write_video(whole, numbered(60), movflags="faststart")
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) * 3 // 4])
    with open_video(whole) as video:
        frames = list(video.frames())
    assert 10 < len(frames) < 60
    assert video.damage is not None


def test_damage_in_the_middle_costs_frames_there_only(folder: Path) -> None:
    path = write_video(folder / "hit.avi", numbered(30), codec="mjpeg")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle - 300 : middle + 300] = bytes(600)
    path.write_bytes(content)
    with open_video(path) as video:
        frames = list(video.frames())
    assert 20 <= len(frames) <= 30
    assert number_of(frames[-1].pixels) == 29 % 12


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50, bytes(5000), b"\x00\x00\x00\x18ftypmp42"])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "not.mp4"
    path.write_bytes(content)
    with pytest.raises(UnreadableVideo), open_video(path) as video:
        list(video.frames())


def test_a_cut_index_is_refused(tmp_path: Path, plain: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(plain.read_bytes()[:-200])
    with pytest.raises(UnreadableVideo), open_video(path) as video:
        list(video.frames())


def test_a_playlist_is_refused(tmp_path: Path, plain: Path) -> None:
    """It names other files, which its sender may not read."""
    for text in (f"#EXTM3U\n#EXTINF:1,\n{plain}\n#EXT-X-ENDLIST\n", f"ffconcat version 1.0\nfile {plain}\n"):
        path = tmp_path / "list.mp4"
        path.write_text(text)
        with pytest.raises(UnreadableVideo), open_video(path):
            pass


def test_a_picture_file_is_no_video(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "picture.png"
    Image.new("RGB", (20, 20)).save(path)
    with pytest.raises(UnreadableVideo), open_video(path):
        pass


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with (
        pytest.raises(UnreadableVideo, match="no video stream"),
        open_video(write_sound(tmp_path / "sound.mp4")),
    ):
        pass


def test_a_video_without_a_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        file.start_encoding()
    with pytest.raises(UnreadableVideo), open_video(path) as video:
        list(video.frames())


def test_a_file_that_is_not_there_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_video(tmp_path / "none.mp4"):
        pass


def test_frames_may_change_their_size(folder: Path) -> None:
    small = write_video(folder / "small.ts", numbered(5))
    large = write_video(folder / "large.ts", numbered(5, 96, 128))
    path = folder / "both.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with open_video(path) as video:
        sizes = [frame.size for frame in video.frames()]
    assert sizes == [ImageSize(48, 64)] * 5 + [ImageSize(96, 128)] * 5
    limits = Limits(pixels=64 * 48)
    with pytest.raises(VideoTooLarge, match="128 x 96"), open_video(path, limits) as video:
        list(video.frames())


def test_frames_far_beyond_the_limit_are_not_decoded(folder: Path) -> None:
    """The size may change within a file, and a decoder holds several frames before the first one comes."""
    small = write_video(folder / "little.h264", numbered(5))
    giant = write_video(folder / "giant.h264", numbered(3, 1080, 1920), options=FAST)
    content = small.read_bytes() + giant.read_bytes()
    with open_video(io.BytesIO(content), Limits(pixels=64 * 48)) as video:
        assert [frame.size for frame in video.frames()] == [ImageSize(48, 64)] * 5
    assert video.damage is not None
    with open_video(io.BytesIO(content)) as video:
        assert len(list(video.frames())) == 8


def test_limits_are_checked_before_anything_is_decoded(plain: Path) -> None:
    for limits, message in ((Limits(frames=29), "30 frames"), (Limits(pixels=3000), "64 x 48")):
        with pytest.raises(VideoTooLarge, match=message), open_video(plain, limits):
            pass
    with open_video(plain, Limits(30, 64 * 48)) as video:
        assert len(list(video.frames())) == 30


def test_a_file_that_does_not_say_its_length_is_limited_while_it_is_read(folder: Path) -> None:
    path = write_video(folder / "long.ts", numbered(30))
    with open_video(path, Limits(frames=20)) as video:
        assert video.info.frames is None
        with pytest.raises(VideoTooLarge, match="more than 20"):
            list(video.frames())


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "long.mp4", numbered(FRAMES), codec="mpeg4")
    code = """
        import resource, sys
        from pathlib import Path
        from sam3_engine.video_files.reading import open_video
        with open_video(Path(sys.argv[1])) as video:
            for frame in video.frames():
                if frame.number == 400:
                    early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(frame.number + 1, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - early)
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], capture_output=True, text=True, check=True
    )
    count, grown = map(int, found.stdout.split())
    assert count == FRAMES
    assert grown < 8_000  # KiB: a third of the bytes of its frames


def test_reading_needs_no_torch() -> None:
    code = "import sys, sam3_engine.video_files.reading; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
