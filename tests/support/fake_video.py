"""The service of videos around a tracker without a model: it follows drawn shapes by their colours.

Sessions, their order, their answers and their limits are those of the real service; the store is in memory.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import orjson

from deployments.ingress.decoding import ImageDecoding
from deployments.ingress.video.dispatch import FrameDispatcher
from deployments.ingress.video.reading import VideoReading
from deployments.ingress.video.service import VideoSessions
from deployments.messages import Expired, NeedImage, OtherModel
from deployments.observe.metrics import Metrics
from deployments.video.messages import EncodedFrame, Tracked, TrackJob, TrackReply
from deployments.video.record import KeptObject, Record, deflated
from sam3_engine.encode_masks import encode
from sam3_engine.regions import RegionMask
from sam3_engine.types import ImageSize, VisualPrompt
from sam3_engine.video_files.reading import Limits
from tests.support.memory_sessions import MemorySessions
from tests.support.scenes import COLOURS

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
MODEL = "fake.1"
SIDE = 128
MIN_AREA = 20


@dataclass
class FakeTracking:
    """The clients of decoders and encoders. An embedding is the frame's square itself.

    lost: replies that pretend that an embedding was lost. other_models: encodes that meet an encoder of another model.
    gate: frames are answered when it is set. died: the states are gone.
    """

    jobs: list[TrackJob] = field(default_factory=list)
    encoded: int = 0
    lost: int = 0
    other_models: int = 0
    expired: bool = False
    expires_at: int | None = None
    """The frame that takes too long."""
    slow_s: float = 0.0
    slow_at: int | None = None
    """The frame whose answer does not come, until this is another one."""
    overloads: list[Exception] = field(default_factory=list)
    """Raised instead of answers, one after the other."""
    gate: asyncio.Event | None = None
    given_up: int = 0
    """Calls that ended while `slow_at` held them."""
    forgotten: list[tuple[str, str]] = field(default_factory=list)
    _colours: dict[str, dict[int, str]] = field(default_factory=dict)
    """By revision, the colour of each object: the tracker's state."""

    def die(self) -> None:
        """As a decoder that was replaced."""
        self._colours.clear()

    async def encode_frame(
        self, need: NeedImage, square: Pixels, size: ImageSize, deadline: float | None
    ) -> list[Any]:
        assert (need.model, square.shape) == (MODEL, (SIDE, SIDE, 3))
        self.encoded += 1
        if self.other_models:
            self.other_models -= 1
            raise OtherModel
        return [square]

    async def track(self, job: TrackJob) -> TrackReply:
        if not job.frames:
            return NeedImage(MODEL, SIDE)
        self.jobs.append(job)
        if self.gate:
            await self.gate.wait()
        await asyncio.sleep(self.slow_s)
        try:
            while self.slow_at in {one.number for one in job.frames}:
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.overloads:
            raise self.overloads.pop()
        if self.expired or self.expires_at in {one.number for one in job.frames}:
            return Expired()
        if self.lost:
            self.lost -= 1
            return NeedImage(MODEL, SIDE)
        record, answers = job.record, list[bytes]()
        colours = self._colours.get(job.base)
        resumed = "hot" if colours is not None or not record.objects else "masks"
        for frame in job.frames:
            if colours is None:
                colours = {one.id: _colour_below(_mask_of(one), frame) for one in record.objects}
            warnings = ["begun anew by masks"] if resumed == "masks" and not answers else []
            record, colours, answer = _one_frame(record, colours, frame, job, warnings)
            answers.append(answer)
        assert colours is not None
        self._colours[job.revision] = colours
        return Tracked(record, tuple(answers), resumed, {"prompt": 0.01})

    async def drop_session(self, tenant: str, session: str) -> None:
        assert self.forgotten[-1] == (tenant, session), "a decoder could save it again"

    async def forget_session(self, tenant: str, session: str) -> None:
        self.forgotten.append((tenant, session))


def fake_video(
    tracking: FakeTracking | None = None,
    store: MemorySessions | None = None,
    metrics: Metrics | None = None,
) -> VideoSessions:
    """The real service around it."""
    tracking = tracking or FakeTracking()
    dispatcher = FrameDispatcher(tracking, tracking, ImageDecoding(1, 1_000_000))
    reading = VideoReading(1, Limits(frames=100, pixels=1_000_000))
    return VideoSessions(store or MemorySessions(), dispatcher, reading, metrics or Metrics())


def _one_frame(
    record: Record, colours: dict[int, str], frame: EncodedFrame, job: TrackJob, warnings: list[str]
) -> tuple[Record, dict[int, str], bytes]:
    colours, objects, next_id = dict(colours), list(record.objects), record.next_id
    labels = {one.id: one.label for one in objects}
    removed = [one.object_id for one in frame.prompts.objects if one.prompt is None]
    for number in removed:
        assert number is not None
        del colours[number]
    for prompt in frame.prompts.objects:
        if prompt.prompt is None:
            continue
        number = prompt.object_id or next_id
        if prompt.object_id is None:
            next_id, labels[number] = next_id + 1, prompt.label
        colours[number] = _colour_at(frame, *_place(prompt.prompt))
    rules = record.rules
    due = record.detected is None or (rules.every and frame.number - record.detected >= rules.every)
    if rules.concepts and due:
        for concept in rules.concepts:
            for word in str(concept.text).split():
                if word in COLOURS and word not in colours.values() and _part(frame, word).any():
                    colours[next_id], labels[next_id] = word, concept.text
                    next_id += 1
    masks = {number: _part(frame, colour) for number, colour in colours.items()}
    detected = frame.number if due and rules.concepts else record.detected
    kept = tuple(
        KeptObject(number, labels[number], None, 0.9, frame.number, 0, deflated(np.packbits(mask).tobytes()))
        for number, mask in masks.items()
    )
    changed = {one.object_id for one in frame.prompts.objects} | (set(colours) - {one.id for one in objects})
    shown = changed if frame.number == record.frame else set(colours)
    body = {
        "frame": frame.number,
        "seconds": frame.seconds,
        "width": frame.size.width,
        "height": frame.size.height,
        "objects": [
            _shown(number, labels[number], mask, frame.size, job)
            for number, mask in masks.items()
            if mask.any() and number in shown
        ],
        "hidden": [number for number, mask in masks.items() if not mask.any()],
        "ended": removed,
        "warnings": warnings,
    }
    after = replace(
        record,
        frame=frame.number,
        detected=detected,
        next_id=next_id,
        objects=kept,
        size=frame.size,
        seconds=frame.seconds,
    )
    return after, colours, orjson.dumps(body)


def _shown(number: int, label: str | None, mask: Mask, size: ImageSize, job: TrackJob) -> dict[str, Any]:
    full = cv2.resize(mask.astype(np.uint8), (size.width, size.height), interpolation=cv2.INTER_NEAREST) > 0
    region = RegionMask.from_full(full)
    x0, y0, x1, y1 = region.box
    return {
        "id": number,
        "label": label,
        "confidence": 0.9,
        "presence": 1.0,
        "format": job.mask_format,
        "masks": encode(region, job.mask_format),
        "box": {"x0": x0, "y0": y0, "x1": x1, "y1": y1},
        "area": region.area,
    }


def _part(frame: EncodedFrame, colour: str) -> Mask:
    pixels = frame.reference[0].astype(np.int16)
    near = np.abs(pixels - np.array(COLOURS[colour], dtype=np.int16)).max(axis=2) < 40
    return near if near.sum() >= MIN_AREA else np.zeros_like(near)


def _place(prompt: VisualPrompt) -> tuple[float, float]:
    """The first click, or the middle of the box."""
    if prompt.points:
        return prompt.points[0].x, prompt.points[0].y
    assert prompt.box is not None
    x0, y0, x1, y1 = prompt.box
    return (x0 + x1) / 2, (y0 + y1) / 2


def _colour_at(frame: EncodedFrame, x: float, y: float) -> str:
    row, column = int(y * SIDE / frame.size.height), int(x * SIDE / frame.size.width)
    pixel = frame.reference[0][row, column].astype(np.int16)
    return min(COLOURS, key=lambda name: int(np.abs(pixel - np.array(COLOURS[name])).sum()))


def _mask_of(kept: KeptObject) -> Mask:
    from deployments.video.record import inflated

    bits = np.unpackbits(np.frombuffer(inflated(kept.last_seen), dtype=np.uint8))
    return bits.reshape(SIDE, SIDE) > 0


def _colour_below(mask: Mask, frame: EncodedFrame) -> str:
    """The colour that the mask covers most of."""
    return max(COLOURS, key=lambda name: int((_part(frame, name) & mask).sum()))
