"""Video steps (`roboflow_core/sam3_video@v1`) in a worker: their model, and their bookkeeping from run to run.

The block loads its model by itself and keeps, for each video, a state of the model and a little bookkeeping. A block
lives for one run here. So an observer, the engine's hook around a block's own model, gives the block a model that asks
the runner, and the bookkeeping of the run before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from roboflow_workflows.core_steps.models.foundation.segment_anything3_video.v1 import (
    SegmentAnything3VideoBlockV1,
)
from roboflow_workflows.core_steps.models.foundation.segment_anything_common.streaming_video import (
    SAM3_CONCEPT_VIDEO_MODEL_ID,
    SAM3_VISUAL_VIDEO_MODEL_ID,
    BoxPromptMetadata,
    VideoSessionBookkeeping,
)
from roboflow_workflows.prototypes.observer import NullExecutionObserver

from deployments.workflows.frames import Header
from deployments.workflows.provider import Sam3Provider
from sam3_engine.rle import from_rle

State = dict[str, Any]
"""What the block hands back with the next frame: the session's id, and the texts that it looks for."""


@dataclass(frozen=True, slots=True)
class ConceptFrame:
    """A frame's objects, as the block reads them. masks: bool [N, H, W]; boxes: [N, 4], first and last
    pixels."""

    masks: npt.NDArray[np.bool_]
    object_ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.float32]
    prompt_to_object_ids: Mapping[str, list[int]]
    state_dict: State


VisualFrame = tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], State]
"""Masks, ids, and the state."""


class Videos:
    """The videos of one step in one run."""

    def __init__(self, provider: Sam3Provider, step: str, kept: frozenset[str]) -> None:
        """kept: the videos that go on in later runs."""
        self._provider = provider
        self._step = step
        self._kept = kept
        self._now = ""

    def restore(self, video: str, fresh: Any) -> Any:
        """The bookkeeping of a video: of the run before, or `fresh`. Its next call of the model is about it."""
        self._now = video
        found = self._ask("video_find") if video in self._kept else None
        return fresh if found is None else _restored(fresh, found["session"], found["note"])

    def now(self, video: str) -> None:
        """The next call of the model is about this video."""
        self._now = video

    def save(self, books: Mapping[str, Any]) -> None:
        """Keep the bookkeeping of each video for the next run."""
        for video, book in books.items():
            if video in self._kept and book.state_dict is not None:
                self._ask("video_note", session=book.state_dict["session"], note=_note(book))

    def begin(self, image: npt.NDArray[np.uint8], **asked: Any) -> Any:
        """A video's first frame. image: uint8 [H, W, 3] RGB."""
        return self._ask("video_begin", image, **asked)

    def follow(self, image: npt.NDArray[np.uint8], state: State) -> Any:
        """A video's next frame."""
        return self._ask("video_follow", image, session=state["session"])

    def _ask(self, method: str, image: npt.NDArray[np.uint8] | None = None, **fields: Any) -> Any:
        video = self._now if self._now in self._kept else None
        header: Header = {"method": method, "step": self._step, "video": video, **fields}
        bgr = None if image is None else np.ascontiguousarray(image[:, :, ::-1])
        return self._provider.call(header, bgr)


class Books(dict[str, Any]):
    """A block's bookkeeping by video. The block calls `setdefault` before it asks the model about a frame."""

    def __init__(self, videos: Videos) -> None:
        super().__init__()
        self._videos = videos

    def setdefault(self, video: str, fresh: Any = None) -> Any:
        """The bookkeeping of a video, which is the one that the model is asked about next."""
        if video not in self:
            self[video] = self._videos.restore(video, fresh)
        self._videos.now(video)
        return self[video]


class ConceptTracker:
    """The block's model for texts."""

    def __init__(self, videos: Videos) -> None:
        self._videos = videos

    def prompt(
        self, image: npt.NDArray[np.uint8], text: Sequence[Any], clear_old_prompts: bool = True
    ) -> ConceptFrame:
        """Begin a video by texts."""
        texts = [one for one in text if not isinstance(one, str) or one.strip()] or list(text)
        return _concept_frame(image, self._videos.begin(image, texts=texts), list(text))

    def track(self, image: npt.NDArray[np.uint8], state_dict: State) -> ConceptFrame:
        """The next frame."""
        return _concept_frame(image, self._videos.follow(image, state_dict), state_dict["texts"])


class VisualTracker:
    """The block's model for clicks and boxes."""

    def __init__(self, videos: Videos) -> None:
        self._videos = videos

    def prompt(
        self,
        image: npt.NDArray[np.uint8],
        bboxes: Sequence[Sequence[float]],
        points: Sequence[tuple[float, float, bool]],
        clear_old_prompts: bool = True,
        frame_idx: int = 0,
    ) -> VisualFrame:
        """Begin a video by an object for each box, then one for the points. Objects come in this order, also those
        that are not seen."""
        shown: list[Any] = [{"box": _centred(*box)} for box in bboxes]
        if points:
            clicks = [{"x": x, "y": y, "positive": positive} for x, y, positive in points]
            shown.append({"points": clicks})
        found = self._videos.begin(image, prompts=shown)
        return _visual_frame(image, found, [*_ids(found), *found["frame"]["hidden"]])

    def track(self, image: npt.NDArray[np.uint8], state_dict: State) -> VisualFrame:
        """The next frame."""
        found = self._videos.follow(image, state_dict)
        return _visual_frame(image, found, _ids(found))


MODELS: dict[str, Callable[[Videos], ConceptTracker | VisualTracker]] = {
    SAM3_CONCEPT_VIDEO_MODEL_ID: ConceptTracker,
    SAM3_VISUAL_VIDEO_MODEL_ID: VisualTracker,
}
"""The block's names for its models: they stand for the server's default model."""


class VideoObserver(NullExecutionObserver):  # type: ignore[misc]  # untyped
    """Runs video steps on the server's sessions of videos."""

    def __init__(self, provider: Sam3Provider, kept: frozenset[str]) -> None:
        """kept: the videos that go on in later runs, by the names that the client gave them."""
        self._provider = provider
        self._kept = kept

    def observe_model_run(
        self, *, block: Any, model_id: str | None, images: Any, run: Callable[[], Any]
    ) -> Any:
        """Run a step. Raises the engine's error for clients."""
        if not isinstance(block, SegmentAnything3VideoBlockV1):
            return run()
        make = MODELS.get(str(model_id))
        if make is None:
            raise self._provider.refusal(
                f"a video step does not run {str(model_id)[:100]!r} on this server, but {' and '.join(MODELS)}",
                404,
            )
        videos = Videos(self._provider, block._workflow_step_name, self._kept)
        books = Books(videos)
        block._model, block._current_model_id = make(videos), model_id
        block._concept_sessions = block._visual_sessions = books
        answer = run()
        videos.save(books)
        return answer


def _note(book: Any) -> dict[str, Any]:
    note: dict[str, Any] = {"last": book.last_frame_number}
    if isinstance(book, VideoSessionBookkeeping):
        objects = [[number, asdict(about)] for number, about in book.obj_id_metadata.items()]
        return {**note, "since": book.frames_since_prompt, "objects": objects}
    return {**note, "texts": list(book.prompt_signature)}


def _restored(fresh: Any, session: str, note: dict[str, Any]) -> Any:
    if isinstance(fresh, VideoSessionBookkeeping):
        return VideoSessionBookkeeping(
            {"session": session},
            note["last"],
            note["since"],
            {number: BoxPromptMetadata(**about) for number, about in note["objects"]},
        )
    return replace(
        fresh,
        state_dict={"session": session, "texts": note["texts"]},
        last_frame_number=note["last"],
        prompt_signature=tuple(note["texts"]),
    )


def _concept_frame(image: npt.NDArray[np.uint8], found: Any, texts: list[Any]) -> ConceptFrame:
    objects = found["frame"]["objects"]
    named = {text.strip(): text for text in reversed(texts) if isinstance(text, str)}
    of_text: dict[str, list[int]] = {}
    for one in objects:
        of_text.setdefault(named.get(one["label"], one["label"]), []).append(one["id"])
    boxes = [one["box"] for one in objects]
    corners = [[box["x0"], box["y0"], box["x1"] - 1, box["y1"] - 1] for box in boxes]
    return ConceptFrame(
        _masks(image, objects, _ids(found)),
        np.array(_ids(found), dtype=np.int64),
        np.array([one["confidence"] for one in objects], dtype=np.float32),
        np.array(corners, dtype=np.float32).reshape(-1, 4),
        of_text,
        {"session": found["session"], "texts": texts},
    )


def _visual_frame(image: npt.NDArray[np.uint8], found: Any, ids: list[int]) -> VisualFrame:
    numbers = sorted(ids)
    masks = _masks(image, found["frame"]["objects"], numbers)
    return masks, np.array(numbers, dtype=np.int64), {"session": found["session"]}


def _ids(found: Any) -> list[int]:
    return [one["id"] for one in found["frame"]["objects"]]


def _masks(image: npt.NDArray[np.uint8], objects: Any, ids: Sequence[int]) -> npt.NDArray[np.bool_]:
    """The masks of these objects, empty for one that is not seen."""
    masks = np.zeros((len(ids), *image.shape[:2]), dtype=np.bool_)
    of_id = {one["id"]: one["masks"] for one in objects}
    for mask, number in zip(masks, ids, strict=True):
        if number in of_id:
            mask[:] = from_rle(of_id[number])
    return masks


def _centred(x0: float, y0: float, x1: float, y1: float) -> dict[str, float]:
    return {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2, "width": x1 - x0, "height": y1 - y0}
