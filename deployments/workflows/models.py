"""Answers the calls of a run's SAM 3 steps by the service behind the HTTP routes, which does the retries, and encodes
each image once. Messages of a worker are checked here like requests from outside."""

import asyncio
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from deployments.keys import content_digest
from deployments.protocol import (
    DeadlineExceeded,
    ImageFile,
    ImageReference,
    Overloaded,
    Segmenter,
    Timings,
)
from deployments.store.sessions import SessionsFull
from deployments.video.protocol import BadPrompt, SessionConflict, UnknownSession
from deployments.workflows.frames import Header
from deployments.workflows.limits import Limits
from deployments.workflows.prompts import request_of
from deployments.workflows.videos import NoVideos, VideoCalls
from deployments.workflows.workers import unanswerable
from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.prompt_values import check_inside
from sam3_engine.types import ConceptResult, Instance

VIDEO_REFUSALS: dict[type[Exception], tuple[int, str | None]] = {
    BadPrompt: (400, None),
    SessionConflict: (400, None),
    UnknownSession: (409, "the video's session has ended meanwhile: send the frame again"),
    SessionsFull: (429, "there is no room for another video: wait until idle ones have ended"),
    NoVideos: (501, None),
}
"""Status and message of what a video step cannot do; None: the error's own message."""


class FileSource:
    """An image file that came with the run. Must be constructed in an event loop."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        # Started at once: the digest is ready by the time that the worker has decoded the file.
        self._id = asyncio.ensure_future(asyncio.to_thread(content_digest, content))

    async def content_digest(self) -> str:
        """Digest of the file's bytes, the same as on the HTTP routes."""
        return await asyncio.shield(self._id)  # shared by several steps: cancelling one must not cancel it

    async def content(self) -> bytes:
        """The bytes."""
        return self._content


class PixelSource:
    """An image that a step made, such as a crop or a drawing. `content` encodes it as a PNG when it is needed."""

    def __init__(self, height: int, width: int, pixels: bytes) -> None:
        if height * width * 3 != len(pixels) or not pixels:
            raise ValueError("an image's pixels do not fit its size")
        self._size = (height, width)
        self._pixels = pixels

    async def content_digest(self) -> str:
        """Digest of size and pixels."""
        return await asyncio.to_thread(content_digest, b"%dx%d:" % self._size + self._pixels)

    async def content(self) -> bytes:
        """A PNG."""
        return await asyncio.to_thread(self._png)

    def _png(self) -> bytes:
        array = np.frombuffer(self._pixels, dtype=np.uint8).reshape(*self._size, 3)
        file = io.BytesIO()
        Image.fromarray(array).save(file, "PNG", compress_level=1)
        return file.getvalue()


class ModelCalls:
    """Answers the model calls of one run, in its event loop. `failure`: a server error (not the workflow's fault),
    which fails the run."""

    def __init__(
        self,
        segmenter: Segmenter,
        tenant: str,
        files: Sequence[bytes],
        limits: Limits,
        quota: int | None = None,
        model_ids: Mapping[str, str] | None = None,
        videos: VideoCalls | None = None,
    ) -> None:
        """model_ids: the names of models by the ids that choose them; None: the default model answers any. videos: None
        where videos are switched off."""
        self._segmenter = segmenter
        self._tenant = tenant
        self._quota = quota
        self._files = [FileSource(content) for content in files]
        self._limits = limits
        self._model_ids = model_ids
        self._videos = videos or VideoCalls(None, tenant, None)
        self._count = 0
        self.failure: Exception | None = None
        self.timings: list[Timings] = []

    async def answer(self, header: Header, parts: Sequence[bytes], timings: Timings) -> Header:
        """The reply to the worker: results, or a message and an HTTP status."""
        self._count += 1
        if self._count > self._limits.max_model_calls:
            most = self._limits.max_model_calls
            return unanswerable(f"one run may ask SAM 3 {most} times; this one asks more often", 400)
        own = Timings(timings.request_id, timings.deadline)
        self.timings.append(own)
        try:
            return {"results": await self._ask(header, parts, own)}
        except (Overloaded, DeadlineExceeded) as error:
            self.failure = self.failure or error
            return unanswerable(str(error), 503)
        except ImageTooLarge as error:
            return unanswerable(str(error), 413)
        except tuple(VIDEO_REFUSALS) as error:
            status, message = VIDEO_REFUSALS[type(error)]
            return unanswerable(message or str(error), status)
        except (UnreadableImage, KeyError, TypeError, ValueError) as error:
            return unanswerable(f"SAM 3 cannot answer this step: {error}", 400)
        except Exception as error:
            self.failure = self.failure or error
            return unanswerable("SAM 3 did not answer", 500)

    async def close(self) -> None:
        """End what ends with the run."""
        await self._videos.close()

    async def _ask(self, header: Header, parts: Sequence[bytes], timings: Timings) -> Any:
        match header["method"]:
            case "video_find":
                return await self._videos.find(header)
            case "video_note":
                return await self._videos.note(header)
            case "video_begin":
                return await self._videos.begin(header, self._image(header, parts), timings)
            case "video_follow":
                return await self._videos.follow(header, self._image(header, parts), timings)
        return await self._segment(header, self._image(header, parts), timings)

    async def _segment(self, header: Header, source: ImageFile, timings: Timings) -> Any:
        request = request_of(header)
        answer = await self._segmenter.answer(
            ImageReference(self._tenant, source, quota=self._quota),
            request,
            timings,
            self._model(header.get("model")),
        )
        check_inside(getattr(request, "prompts", ()), answer.size)
        return _masks(answer.results)

    def _model(self, model_id: Any) -> str | None:
        if model_id is None or self._model_ids is None:
            return None
        if model_id not in self._model_ids:
            raise ValueError("there is no such model")
        return self._model_ids[model_id]

    def _image(self, header: Header, parts: Sequence[bytes]) -> ImageFile:
        described = header["image"]
        if "file" in described:
            return self._file(described["file"])
        height, width, _ = described["shape"]
        if height * width > self._limits.max_image_pixels:
            raise ImageTooLarge(f"an image of {width} x {height} pixels is too large")
        return PixelSource(height, width, parts[0])

    def _file(self, number: Any) -> FileSource:
        if not isinstance(number, int) or not 0 <= number < len(self._files):
            raise ValueError("this run has no image of this number")
        return self._files[number]


def _masks(results: Any) -> Any:
    if isinstance(results, Instance):
        return {"masks": results.masks, "confidence": results.score}
    if isinstance(results, ConceptResult):
        return _masks(results.instances)
    return [_masks(item) for item in results]
