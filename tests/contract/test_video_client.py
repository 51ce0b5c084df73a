"""`serve_app.video_client` against the server: frames, files, and what it survives."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.protocol import Overloaded
from serve_app.http.tenants import keyfile
from serve_app.video_client import VideoClient, VideoError
from tests.contract.conftest import ServerFactory
from tests.support.clips import clip, picture, red_at
from tests.support.fake_video import FakeTracking, fake_video
from tests.support.memory_sessions import MemorySessions

FRAMES = 6


@pytest.fixture
def tracking() -> FakeTracking:
    return FakeTracking()


@pytest.fixture
def store() -> MemorySessions:
    return MemorySessions()


@pytest.fixture
def video(
    start_server: ServerFactory, tracking: FakeTracking, store: MemorySessions
) -> Iterator[VideoClient]:
    with start_server(video=fake_video(tracking, store)) as url, VideoClient(url) as client:
        yield client


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip(FRAMES))
    return path


def test_a_file_is_a_generator_of_frames_and_leaves_no_session(
    video: VideoClient, film: Path, store: MemorySessions
) -> None:
    frames = list(video.file(film, texts=["red circle"], every=1, format="polygon"))
    assert [one["frame"] for one in frames] == list(range(FRAMES))
    assert {one["objects"][0]["format"] for one in frames} == {"polygon"}
    assert store.open_sessions == 0


def test_pictures_are_sent_one_by_one_with_their_prompts(video: VideoClient) -> None:
    session = video.begin()
    x, y = red_at(0)
    prompts = {0: [{"points": [{"x": x, "y": y}], "label": "ball"}]}
    frames = list(session.frames([picture(number) for number in range(3)], prompts))
    assert [one["objects"][0]["label"] for one in frames] == ["ball"] * 3
    answer = session.prompt([{"object_id": 1, "remove": True}])
    assert answer["ended"] == [1]
    assert video.resume(session.session_id).next_frame == 3
    session.end()
    with pytest.raises(VideoError, match="no video session"):
        session.end()


def test_a_stream_that_is_cut_goes_on_where_it_was(
    video: VideoClient, film: Path, tracking: FakeTracking
) -> None:
    tracking.overloads = [Overloaded(0.01)] * 2
    frames = list(video.file(film, texts=["red circle"], every=1))
    assert [one["frame"] for one in frames] == list(range(FRAMES))


def test_an_overload_is_waited_for(video: VideoClient, tracking: FakeTracking) -> None:
    session = video.begin(texts=["red circle"], every=1)
    tracking.overloads = [Overloaded(0.01)]
    assert [one["frame"] for one in session.frames([picture(0)])] == [0]


def test_what_the_server_refuses_is_an_error_with_its_words(video: VideoClient, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no video file") as raised:
        list(video.begin().propagate())
    assert raised.value.status == 409
    other = tmp_path / "no.mp4"
    other.write_bytes(b"no video")
    with pytest.raises(VideoError, match="no video file that can be read"):
        video.begin(video=other)
    with pytest.raises(VideoError, match="less than or equal to"):
        video.begin(most_objects=65)


def test_the_key_is_sent(start_server: ServerFactory, tmp_path: Path) -> None:
    key = keyfile.add(tmp_path / "keys.json", "acme")
    with start_server(api_keys_file=tmp_path / "keys.json") as url:
        with VideoClient(url) as stranger, pytest.raises(VideoError, match="Unauthorized"):
            stranger.begin()
        with VideoClient(url, key) as client:
            client.begin().end()


def test_a_server_that_does_not_answer_is_an_error_after_a_while() -> None:
    with (
        VideoClient("http://127.0.0.1:9", patience_s=0) as client,
        pytest.raises(VideoError, match="does not answer"),
    ):
        client.begin()
