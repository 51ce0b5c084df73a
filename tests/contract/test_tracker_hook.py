"""The tracker of `serve_app.hooks` against the server: objects of one picture share a session."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from sam3_engine.types import Box
from serve_app.hooks.model import ModelError
from serve_app.hooks.tracker import SentPicture, SentTrack, ServerTracker, tracker_of
from serve_app.video_client import VideoClient
from tests.contract.conftest import ServerFactory
from tests.support.clips import RADIUS, blue_at, frame, red_at
from tests.support.fake_video import FakeTracking, fake_video
from tests.support.memory_sessions import MemorySessions
from tests.support.scenes import HEIGHT, WIDTH, box_iou

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"  # pycocotools with numpy 2
)


@pytest.fixture
def tracking() -> FakeTracking:
    return FakeTracking()


@pytest.fixture
def sessions() -> MemorySessions:
    return MemorySessions()


@pytest.fixture
def tracker(
    start_server: ServerFactory, tracking: FakeTracking, sessions: MemorySessions
) -> Iterator[ServerTracker]:
    with start_server(video=fake_video(tracking, sessions)) as url, VideoClient(url, patience_s=0) as client:
        yield ServerTracker(client)


def around(place: tuple[int, int]) -> Box:
    x, y = place
    return (x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)


def pictures(tracker: ServerTracker, count: int) -> list[SentPicture]:
    return [tracker.picture(frame(number)) for number in range(count)]


def found_at(tracker: ServerTracker, track: SentTrack, picture: SentPicture, place: tuple[int, int]) -> float:
    found = tracker.follow(track, picture)
    assert found is not None
    assert found.mask.shape == (HEIGHT, WIDTH)
    return box_iou(found.box(), around(place))


def test_objects_of_one_picture_share_a_session_and_the_encoding_of_each_frame(
    tracker: ServerTracker, tracking: FakeTracking, sessions: MemorySessions
) -> None:
    first, *later = pictures(tracker, 4)
    blue = tracker.begin(first, around(blue_at(0)))
    red = tracker.begin(first, around(red_at(0)))
    begun = tracking.encoded
    for number, picture in enumerate(later, 1):
        assert found_at(tracker, blue, picture, blue_at(number)) > 0.9
        assert found_at(tracker, red, picture, red_at(number)) > 0.9
    assert sessions.open_sessions == 1
    assert tracking.encoded == begun + len(later)


def test_an_object_that_falls_behind_gets_the_answers_that_were_given(tracker: ServerTracker) -> None:
    first, *later = pictures(tracker, 4)
    blue, red = tracker.begin(first, around(blue_at(0))), tracker.begin(first, around(red_at(0)))
    for track, at in ((blue, blue_at), (red, red_at)):
        for number, picture in enumerate(later, 1):
            assert found_at(tracker, track, picture, at(number)) > 0.9


def test_pictures_that_are_loaded_again_begin_sessions_of_their_own(
    tracker: ServerTracker, sessions: MemorySessions
) -> None:
    """Their objects need not go on together."""
    for _ in range(2):
        tracker.begin(tracker.picture(frame(0)), around(red_at(0)))
    assert sessions.open_sessions == 2


def test_an_object_that_is_not_seen_is_none_and_comes_back(tracker: ServerTracker) -> None:
    track = tracker.begin(tracker.picture(frame(0)), around(blue_at(0)))
    assert tracker.follow(track, tracker.picture(frame(1, blue_from=9))) is None
    assert found_at(tracker, track, tracker.picture(frame(2)), blue_at(2)) > 0.9


def test_a_refusal_is_one_error_and_leaves_no_session(
    tracker: ServerTracker, sessions: MemorySessions
) -> None:
    with pytest.raises(ModelError, match="outside"):
        tracker.begin(tracker.picture(frame(0)), (900, 900, 950, 950))
    assert sessions.open_sessions == 0


def test_a_track_may_be_followed_again_after_an_error(
    tracker: ServerTracker, sessions: MemorySessions
) -> None:
    track = tracker.begin(tracker.picture(frame(0)), around(red_at(0)))
    sessions.away = True
    with pytest.raises(ModelError):
        tracker.follow(track, tracker.picture(frame(1)))
    sessions.away = False
    assert found_at(tracker, track, tracker.picture(frame(1)), red_at(1)) > 0.9


def test_the_sequence_of_a_track_is_kept(tracker: ServerTracker) -> None:
    """Two objects of one session, of which one saw another second frame than the other would."""
    first, second, third = pictures(tracker, 3)
    blue, red = tracker.begin(first, around(blue_at(0))), tracker.begin(first, around(red_at(0)))
    tracker.follow(blue, second)
    with pytest.raises(ModelError, match="another picture"):
        tracker.follow(red, third)


def test_a_server_that_is_not_there_is_that_error() -> None:
    tracker = ServerTracker(VideoClient("http://127.0.0.1:1", patience_s=0))
    with pytest.raises(ModelError, match="does not answer"):
        tracker.begin(tracker.picture(frame(0)), around(red_at(0)))


def test_the_file_of_a_picture_loses_nothing(tracker: ServerTracker) -> None:
    with Image.open(io.BytesIO(tracker.picture(frame(3)).content)) as image:
        assert list(image.convert("RGB").tobytes()) == list(frame(3).tobytes())


def test_a_model_that_is_not_there_is_that_error() -> None:
    with pytest.raises(ModelError):
        tracker_of(model="nothing")
