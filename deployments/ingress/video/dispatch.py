"""Sends frames of videos to an encoder and to the session's decoder. No torch, no Ray.

docs/retries.md sets the retries of this module beside all others.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deployments.ingress.decoding import ImageDecoding
from deployments.ingress.dispatch import ATTEMPTS, UPDATE_PAUSES_S
from deployments.messages import Expired, NeedImage, OtherModel
from deployments.observe import tracing
from deployments.protocol import DeadlineExceeded, Overloaded, Timings
from deployments.video.frames import Frame, Picture
from deployments.video.messages import EncodedFrame, Tracked, TrackJob, TrackReply
from deployments.video.protocol import BadPrompt, FramePrompts, SessionCall, SessionRules
from deployments.video.record import Record
from sam3_engine.prompt_values import check_inside
from sam3_engine.types import ImageSize


class TrackingDecoders(Protocol):
    """The ingress's client of the decoders, for videos."""

    async def track(self, job: TrackJob) -> TrackReply:
        """The reply of the session's replica. Raises Overloaded, OtherModel."""
        ...

    async def forget_session(self, tenant: str, session: str) -> None:
        """Drop a session's state in every replica that answers."""
        ...


class FrameEncoders(Protocol):
    """The ingress's client of the pool, for videos."""

    async def encode_frame(
        self,
        need: NeedImage,
        square: npt.NDArray[np.uint8],
        size: ImageSize,
        deadline: float | None,
    ) -> list[Any]:
        """One frame's embedding for this caller alone: an ObjectRef, nested. square: uint8 [S, S, 3] RGB. Raises
        Overloaded, OtherModel, DeadlineExceeded."""
        ...

    async def drop_session(self, tenant: str, session: str) -> None:
        """Forget a session's state. Raises Overloaded."""
        ...


NOTHING = Record(SessionRules(), began=0.0)


@dataclass(slots=True)
class FrameDispatcher:
    """Has frames encoded and tracked."""

    decoders: TrackingDecoders
    encoders: FrameEncoders
    decoding: ImageDecoding
    _need: NeedImage | None = field(init=False, default=None)
    """What decoders last said that they need of a frame."""

    async def need(self) -> NeedImage:
        """What decoders need of a frame. Raises Overloaded."""
        if self._need is None:
            asked = await self.decoders.track(TrackJob("", "", "", NOTHING, "", ()))
            assert isinstance(asked, NeedImage)
            self._need = asked
        return self._need

    async def track(
        self, call: SessionCall, base: str, record: Record, frames: Sequence[Frame], timings: Timings
    ) -> tuple[str, Tracked]:
        """The session's next revision, and the answers. base: the revision that it has now.

        Raises Overloaded, DeadlineExceeded, BadPrompt, and the errors of `ImageDecoding.decode`.
        """
        pauses, lost, elsewhere, revision = iter(UPDATE_PAUSES_S), 0, 0, uuid.uuid4().hex
        while lost < ATTEMPTS:
            try:
                encoded = await self._encode(frames, timings)
                job = TrackJob(
                    call.tenant,
                    call.session_id,
                    base,
                    record,
                    revision,
                    tuple(encoded),
                    call.mask_format,
                    timings.deadline,
                    elsewhere,
                    tracing.traceparent(),
                )
                match reply := await self.decoders.track(job):
                    case Tracked():
                        timings.add(reply.stages)
                        return revision, reply
                    case Expired():
                        raise DeadlineExceeded
                    case NeedImage():
                        self._need = reply
                        lost += 1
            except OtherModel:
                self._need = None
                if (pause := next(pauses, None)) is None:
                    raise Overloaded from None
                await asyncio.sleep(pause)
                elsewhere += 1
        raise Overloaded  # the object store loses embeddings as fast as they are made

    async def _encode(self, frames: Sequence[Frame], timings: Timings) -> list[EncodedFrame]:
        """All frames at once, so that encoders see them as a batch. The first error ends all.

        Raises Overloaded, OtherModel, DeadlineExceeded, BadPrompt, and the errors of `ImageDecoding.decode`.
        """
        need = await self.need()
        tasks = [asyncio.ensure_future(self._one(frame, need, timings)) for frame in frames]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, frame: Frame, need: NeedImage, timings: Timings) -> EncodedFrame:
        began = time.monotonic()
        if isinstance(frame, Picture):
            decoded = await self.decoding.decode(frame.content, need.image_size)
            square, size, seconds = decoded.square, decoded.size, None
        else:
            square, size, seconds = frame.square, frame.size, frame.seconds
        here = time.monotonic()
        _check_inside(frame.prompts, size)
        reference = await self.encoders.encode_frame(need, square, size, timings.deadline)
        timings.add({"decode": here - began, "encode": time.monotonic() - here})
        return EncodedFrame(frame.number, size, reference, frame.prompts, seconds)


def _check_inside(prompts: FramePrompts, size: ImageSize) -> None:
    """Raises BadPrompt for a place outside the frame."""
    try:
        check_inside([one.prompt for one in prompts.objects if one.prompt is not None], size)
    except ValueError as error:
        raise BadPrompt(str(error)) from None
