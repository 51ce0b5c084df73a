"""Bodies and answers of the remote server's videos, as X-AnyLabeling 4.2 writes and reads them. Numbers of frames count
from the session's `start_frame_index` on."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from serve_app.http.schemas import MAX_POINTS, WHOLE, Coordinate, Label, RequestModel, ResponseModel
from serve_app.http.tools.x_anylabeling.schemas import MOST_TEXT, XAnyLabelingParams, XAnyLabelingShape
from serve_app.http.video.schemas import MOST_FRAMES

Model = Annotated[str, Field(max_length=400)]
Session = Annotated[str, Field(max_length=400)]
Number = Annotated[int, Field(ge=0, le=MOST_FRAMES), WHOLE]
Pair = Annotated[list[Coordinate], Field(min_length=2, max_length=2)]


class XAnyLabelingVideoInit(RequestModel):
    """A session with all frames of a video."""

    model: Model
    """The id of the list that is for videos."""
    frames: Annotated[list[str], Field(min_length=1, max_length=MOST_FRAMES)]
    """Image files of one size in base64, with or without `data:image/png;base64,`."""
    start_frame_index: Number = 0
    """The number of the first one."""


class XAnyLabelingVideoPrompt(RequestModel):
    """What to follow, shown in one frame: phrases, or clicks on one object."""

    session_id: Session
    model: Model
    frame_index: Number = 0
    text_prompt: Annotated[str, Field(max_length=MOST_TEXT)] | None = None
    """Phrases, separated by commas or full stops. With one, clicks are ignored."""
    points: Annotated[list[Pair], Field(fail_fast=True, max_length=MAX_POINTS)] | None = None
    """Clicks as parts of the frame's width and height, from 0 to 1: all of the object's."""
    point_labels: Annotated[list[Label], Field(max_length=MAX_POINTS)] | None = None
    """For each click: 1 on the object, 0 beside it."""
    obj_id: Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE] | None = None
    """The client's number for the object: clicks of another number are of another object."""
    params: XAnyLabelingParams = Field(default_factory=XAnyLabelingParams)

    @model_validator(mode="after")
    def _labels_each_point(self) -> Self:
        if len(self.points or ()) != len(self.point_labels or ()):
            raise PydanticCustomError("video_prompt", "points and point_labels have one length")
        return self


class XAnyLabelingVideoPropagate(RequestModel):
    """Follow from the prompted frame on."""

    session_id: Session
    model: Model
    start_frame: Number | None = None
    """Frames before it have no shapes in the answer."""
    end_frame: Number | None = None
    """The last frame; without it, the video's last one."""


class XAnyLabelingVideoSession(ResponseModel):
    """The session that has begun."""

    session_id: str
    num_frames: int
    start_frame_index: int


class XAnyLabelingVideoInited(ResponseModel):
    """The answer to frames."""

    success: bool
    data: XAnyLabelingVideoSession


class XAnyLabelingVideoShapes(ResponseModel):
    """The prompted frame. `group_id` of its shapes is the object's number in the session."""

    frame_index: int
    masks: list[XAnyLabelingShape]
    num_objects: int


class XAnyLabelingVideoPrompted(ResponseModel):
    """The answer to a prompt."""

    success: bool
    data: XAnyLabelingVideoShapes


class XAnyLabelingVideoTask(ResponseModel):
    """The task that has begun."""

    task_id: str
    status: Literal["processing"]
    message: str


class XAnyLabelingVideoStarted(ResponseModel):
    """The answer to a wish to propagate."""

    success: bool
    data: XAnyLabelingVideoTask


class XAnyLabelingVideoProgress(ResponseModel):
    """How far a task is."""

    status: Literal["processing", "completed", "failed", "cancelled"]
    progress: float
    """From 0 to 1."""
    current_frame: int
    total_frames: int
    results: dict[str, Any] | None = None
    """Where it is completed: by the frame's number, its `masks`, shapes as in the answer to a prompt."""
    error: str | None = None
    """Where it failed: why."""


class XAnyLabelingVideoStatus(ResponseModel):
    """The answer about a task."""

    success: bool
    data: XAnyLabelingVideoProgress


class XAnyLabelingVideoText(ResponseModel):
    """A sentence for people."""

    message: str


class XAnyLabelingVideoDone(ResponseModel):
    """The answer to a wish to cancel or to clean up."""

    success: bool
    data: XAnyLabelingVideoText
