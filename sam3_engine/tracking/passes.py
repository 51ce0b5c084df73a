"""Tracks of objects as pure functions: `start` and `correct` by prompts, `step` to the next frame.

Objects of any number of frames and videos share a pass. No object's answer depends on the others.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from sam3_engine import visual
from sam3_engine.batches import one_or_all
from sam3_engine.engine import LOGIT_LIMIT, Engine
from sam3_engine.errors import StaleTrack
from sam3_engine.features import Features, Pyramid
from sam3_engine.tracking.heads import Heads, TrackerHeads
from sam3_engine.tracking.looks import looks
from sam3_engine.tracking.memory_attention import spread
from sam3_engine.tracking.prompts import MaskPrompt, TrackPrompt, at_side
from sam3_engine.tracking.state import Memory, TrackState, attended, followed, prompted
from sam3_engine.types import ImageSize, VisualPrompt
from sam3_engine.upload import upload

OBJECTS_AT_ONCE = 16
"""Most objects in one pass. This bounds a batch's memory."""


@dataclass(frozen=True, slots=True)
class StartItem:
    """One frame's new objects, one prompt each. frame: its index in the video."""

    features: Features
    size: ImageSize
    prompts: Sequence[TrackPrompt]
    frame: int = 0


@dataclass(frozen=True, slots=True)
class CorrectItem:
    """One frame's corrections: `prompts[i]` for the object of `states[i]`."""

    features: Features
    size: ImageSize
    states: Sequence[TrackState]
    prompts: Sequence[TrackPrompt]
    frame: int


@dataclass(frozen=True, slots=True)
class StepItem:
    """One frame in which the objects of `states` are to be found. frame: its index, later than that of each state."""

    features: Features
    states: Sequence[TrackState]
    frame: int


@dataclass(frozen=True, slots=True)
class Tracked:
    """One object in one frame.

    mask_logits: float32 [4g, 4g] on the host, for the whole frame; the mask is where they are above zero. An object
    that is not in the frame has no such place. quality: the mask's predicted IoU; presence: the probability that the
    object is in the frame. state: what the next frame needs.
    """

    state: TrackState
    mask_logits: torch.Tensor
    quality: float
    presence: float


@dataclass(frozen=True, slots=True)
class _Asked:
    features: Features
    frame: int
    state: TrackState | None
    size: ImageSize | None = None
    prompt: TrackPrompt | None = None

    @property
    def pyramid(self) -> Pyramid:
        return self.features.image.pvs


@dataclass(frozen=True, slots=True)
class _Frames:
    """The frames of one pass, each once. rows: each object's frame, [B]; None where there is only one."""

    pyramid: Pyramid
    rows: torch.Tensor | None

    @classmethod
    def of(cls, asked: Sequence[_Asked], device: torch.device) -> "_Frames":
        pyramids = {id(one.features): one.pyramid for one in asked}
        fine, middle, coarse = (one_or_all([each[level] for each in pyramids.values()]) for level in range(3))
        if len(pyramids) == 1:
            return cls((fine, middle, coarse), None)
        numbers = {key: number for number, key in enumerate(pyramids)}
        rows = torch.tensor([numbers[id(one.features)] for one in asked])
        return cls((fine, middle, coarse), upload(rows, device))

    def spread(self, count: int) -> Pyramid:
        """One row for each object."""
        fine, middle, coarse = (spread(level, self.rows, count) for level in self.pyramid)
        return fine, middle, coarse


Run = Callable[[Engine, TrackerHeads, Sequence[_Asked], _Frames], Heads]


def start(engine: Engine, items: Sequence[StartItem]) -> list[list[Tracked]]:
    """New tracks: per item a list with one entry per prompt. A prompt without a point or with one is answered by the
    best of three proposals, any other by one proposal, as the package's tracker does.

    Raises ValueError on an engine that cannot track, and DeviceFull.
    """
    asked = [
        [_Asked(item.features, item.frame, None, item.size, prompt) for prompt in item.prompts]
        for item in items
    ]
    return _by_prompts(engine, asked)


def correct(engine: Engine, items: Sequence[CorrectItem]) -> list[list[Tracked]]:
    """Tracks that go on from a prompt: the object is segmented by the prompt alone, and tracked from there.

    The frame may be the last one that the object was tracked on: clicks then refine its mask, all clicks of this frame
    being given again. It may be any earlier or later one, too: the memories of it and of later ones are dropped.
    Raises as `start`, and StaleTrack.
    """
    asked = []
    for item in items:
        pairs = zip(item.states, item.prompts, strict=True)
        asked.append(
            [
                _Asked(item.features, item.frame, state, item.size, _refining(state, item.frame, prompt))
                for state, prompt in pairs
            ]
        )
    return _by_prompts(engine, asked)


def step(engine: Engine, items: Sequence[StepItem]) -> list[list[Tracked]]:
    """Find the objects in the next frame: per item a list with one entry per state.

    Raises ValueError on an engine that cannot track, and for a frame that is not later than a state's; StaleTrack;
    DeviceFull.
    """
    asked = [[_Asked(item.features, item.frame, state) for state in item.states] for item in items]
    for one in (one for row in asked for one in row):
        assert one.state is not None
        if one.frame <= one.state.frame:
            raise ValueError(f"frame {one.frame} is not later than frame {one.state.frame}, tracked already")
    return _answered(engine, asked, _memories_of, _track)


def _by_prompts(engine: Engine, asked: Sequence[Sequence[_Asked]]) -> list[list[Tracked]]:
    return _answered(engine, asked, _form_of, _segment)


def _refining(state: TrackState, frame: int, prompt: TrackPrompt) -> TrackPrompt:
    """Clicks on the frame that was tracked last refine its mask."""
    if isinstance(prompt, MaskPrompt) or prompt.previous_logits is not None or frame != state.frame:
        return prompt
    logits = state.logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT).cpu().numpy()
    return replace(prompt, previous_logits=logits)


def _answered(
    engine: Engine,
    asked: Sequence[Sequence[_Asked]],
    kind: Callable[[_Asked], object],
    run: Run,
) -> list[list[Tracked]]:
    """Answers in the order of the questions; those of one kind share passes."""
    version = engine.track_version
    if version is None:
        raise ValueError("this engine was loaded without the parts for video")
    heads = TrackerHeads(engine.model)
    kinds: dict[object, list[tuple[int, int]]] = defaultdict(list)
    for row, questions in enumerate(asked):
        for place, question in enumerate(questions):
            if question.state is not None and question.state.version != version:
                raise StaleTrack(f"a track of {question.state.version!r} cannot go on with {version!r}")
            kinds[kind(question)].append((row, place))
    answers: dict[tuple[int, int], Tracked] = {}
    for members in kinds.values():
        for begin in range(0, len(members), OBJECTS_AT_ONCE):
            part = members[begin : begin + OBJECTS_AT_ONCE]
            questions = [asked[row][place] for row, place in part]
            answers.update(
                zip(part, engine.in_passes(partial(_one_pass, engine, heads, run), questions), strict=True)
            )
    return [[answers[row, place] for place in range(len(questions))] for row, questions in enumerate(asked)]


def _one_pass(engine: Engine, heads: TrackerHeads, run: Run, asked: Sequence[_Asked]) -> list[Tracked]:
    found = run(engine, heads, asked, _Frames.of(asked, engine.device))
    # The one wait for the device.
    table = torch.cat(
        [found.quality[:, None], found.presence.sigmoid()[:, None], found.logits.flatten(1)], 1
    ).cpu()
    side = found.logits.shape[-1]
    assert engine.track_version is not None
    tracked = []
    for row, one in enumerate(asked):
        # Copies: a view would keep the memories of the whole batch alive.
        memory = Memory(one.frame, found.memories[row].clone(), found.pointers[row].clone())
        logits = found.logits[row].clone()
        if one.prompt is None and one.state is not None:
            state = followed(one.state, memory, logits)
        else:
            look = looks(one.pyramid[2], logits[None])[0]
            state = prompted(engine.track_version, engine.spec.memories, one.state, memory, logits, look)
        quality, presence = table[row, :2].tolist()
        tracked.append(Tracked(state, table[row, 2:].unflatten(0, (side, side)), quality, presence))
    return tracked


def _memories_of(one: _Asked) -> tuple[int, int]:
    """How many memories and pointers an object attends to: rows of one batch have equally many."""
    assert one.state is not None
    memories, pointers = attended(one.state, one.frame)
    return len(memories), len(pointers)


def _form_of(one: _Asked) -> tuple[object, ...]:
    """Prompts of one form share a pass: padding would change answers."""
    if isinstance(one.prompt, VisualPrompt):
        prompt = one.prompt
        return "clicks", len(prompt.points), prompt.box is not None, prompt.previous_logits is not None
    return ("mask",)


def _track(engine: Engine, heads: TrackerHeads, asked: Sequence[_Asked], frames: _Frames) -> Heads:
    found = [attended(one.state, one.frame) for one in asked if one.state is not None]
    memories, pointers = [memories for memories, _ in found], [pointers for _, pointers in found]
    return heads.track(frames.pyramid, memories, pointers, frames.rows)


def _segment(engine: Engine, heads: TrackerHeads, asked: Sequence[_Asked], frames: _Frames) -> Heads:
    pyramid = frames.spread(len(asked))
    masks = [one.prompt for one in asked if isinstance(one.prompt, MaskPrompt)]
    if masks:
        side = 4 * engine.spec.mask_size
        return heads.take(pyramid, torch.stack([at_side(mask, side, engine.device) for mask in masks]))
    prompts = [one.prompt for one in asked if isinstance(one.prompt, VisualPrompt)]
    sizes = [one.size for one in asked if one.size is not None]
    clicks = visual.clicks(prompts, sizes, engine.spec.image_size, engine.device)
    return heads.click(pyramid, clicks, clicks.points.shape[1])
