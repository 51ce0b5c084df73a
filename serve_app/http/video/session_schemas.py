"""The schemas of sessions of videos, in requests and answers."""

from typing import Annotated, Any

from pydantic import Field

from deployments.video.protocol import EVERY, MOST_OBJECTS, SessionInfo, VideoFacts
from serve_app.http.reading.image_fields import InferenceRequestImage
from serve_app.http.schemas import WHOLE, AcceptedFields, ResponseModel
from serve_app.http.video.schemas import MOST_FRAMES, Texts


class VideoFile(InferenceRequestImage):
    """A video file: base64 text, or a URL to fetch."""

    type: str
    """`base64` or `url`."""
    value: Annotated[Any, Field(json_schema_extra={"type": "string"})] = None
    """The file in base64 (a `data:` prefix is stripped), or its https URL."""


class VideoSessionFields(AcceptedFields):
    """The rules of a session."""

    texts: Texts | None = None
    """Concepts to find and follow. Without any, objects come from prompts alone."""
    every: Annotated[int, Field(ge=0, le=MOST_FRAMES), WHOLE] = EVERY
    """Frames from one search for the concepts to the next. 0: only the first frame is searched."""
    most_objects: Annotated[int, Field(ge=1, le=MOST_OBJECTS), WHOLE] = MOST_OBJECTS
    """Objects that the session follows at a time."""


class VideoSessionRequest(VideoSessionFields):
    """Begin a session: one video, as a file, or as frames that are sent one after the other."""

    video: VideoFile | None = None
    """The video's file. Without one, frames follow by `.../frames`."""


class VideoSessionFile(ResponseModel):
    """What a session's video file says of itself."""

    width: int
    """Width of its upright frames, in pixels."""
    height: int
    """Height of its upright frames, in pixels."""
    frames: int | None
    """Number of frames; null where it does not say."""
    frames_per_second: float | None
    """Frames a second in the mean; null where it does not say."""
    seconds: float | None
    """Its length; null where it does not say."""


class VideoSessionText(ResponseModel):
    """One concept of a session."""

    text: str
    """The concept in words."""
    output_prob_thresh: float
    """Its score threshold."""


class VideoSessionObject(ResponseModel):
    """One object of a session."""

    id: int
    """Its number in the session."""
    label: str | None
    """The text that found it, or the name that its prompt gave it."""


class VideoSessionInfo(ResponseModel):
    """A session."""

    session_id: str
    """Its id, for all further requests."""
    texts: list[VideoSessionText]
    """The concepts that it looks for."""
    every: int
    """Frames from one search for them to the next; 0: only the first frame."""
    most_objects: int
    """Objects that it follows at a time."""
    next_frame: int
    """The number of the frame that it expects."""
    objects: list[VideoSessionObject]
    """The objects that it follows."""
    age: float
    """Seconds since it began."""
    video: VideoSessionFile | None
    """Its video file; null where frames come one by one."""


class VideoSession(VideoSessionInfo):
    """A session, in the answer to a request about it."""

    idle_seconds: float
    """Seconds without a request after which a session ends."""
    time: float
    """Seconds that the answer took."""


class VideoSessions(ResponseModel):
    """The sessions of one tenant."""

    sessions: list[VideoSessionInfo]
    """Newest first."""
    time: float
    """Seconds that the answer took."""


class DeletedVideoSession(ResponseModel):
    """The session that has ended."""

    session_id: str
    """Its id."""
    time: float
    """Seconds that the answer took."""


def session_body(info: SessionInfo) -> dict[str, Any]:
    """The fields of `VideoSessionInfo`."""
    return {
        "session_id": info.session_id,
        "texts": [
            {"text": one.text, "output_prob_thresh": one.score_threshold} for one in info.rules.concepts
        ],
        "every": info.rules.every,
        "most_objects": info.rules.most,
        "next_frame": info.next_frame,
        "objects": [{"id": number, "label": label} for number, label in info.objects],
        "age": info.age_s,
        "video": info.video and _file_body(info.video),
    }


def _file_body(facts: VideoFacts) -> dict[str, Any]:
    return {
        "width": facts.size.width,
        "height": facts.size.height,
        "frames": facts.frames,
        "frames_per_second": facts.rate,
        "seconds": facts.seconds,
    }
