"""A track's state is bounded, independent of other objects, and survives as bytes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from sam3_engine.engine import Engine
from sam3_engine.errors import StaleTrack
from sam3_engine.features import Features
from sam3_engine.spec import SAM3, TINY, ModelSpec
from sam3_engine.tracking.passes import CorrectItem, StartItem, StepItem, Tracked, correct, start, step
from sam3_engine.tracking.prompts import MaskPrompt, TrackPrompt
from sam3_engine.tracking.state import (
    MAX_CONDITIONING,
    POINTERS,
    Memory,
    TrackState,
    attended,
    followed,
    prompted,
)
from sam3_engine.tracking.storing import restore, store
from sam3_engine.types import ImageSize, Point, VisualPrompt

SIZE = ImageSize(224, 224)
MEMORIES = SAM3.memories


def memory(frame: int, spec: ModelSpec = SAM3) -> Memory:
    side, width = spec.grid, spec.d_model
    return Memory(frame, torch.zeros(width // 4, side, side, dtype=torch.bfloat16), torch.zeros(width))


def logits(spec: ModelSpec = SAM3) -> torch.Tensor:
    return torch.zeros(spec.mask_size, spec.mask_size)


def look(spec: ModelSpec = SAM3) -> torch.Tensor:
    return torch.zeros(spec.d_model)


def begun(frame: int = 0, spec: ModelSpec = SAM3) -> TrackState:
    return prompted("v", spec.memories, None, memory(frame, spec), logits(spec), look(spec))


@pytest.mark.parametrize(("spec", "one", "most"), [(SAM3, 5.0e6, 7.0e6), (TINY, 115e3, 171e3)])
def test_a_state_has_the_bytes_that_its_description_says(spec: ModelSpec, one: float, most: float) -> None:
    state = begun(0, spec)
    for frame in range(1, 200):
        state = followed(state, memory(frame, spec), logits(spec))
    assert state.nbytes == pytest.approx(one, rel=0.02)
    for frame in range(200, 400, 20):
        state = prompted("v", spec.memories, state, memory(frame, spec), logits(spec), look(spec))
        for later in range(frame + 1, frame + 20):
            state = followed(state, memory(later, spec), logits(spec))
            assert state.nbytes <= most * 1.01


def test_the_last_frames_are_attended_to() -> None:
    state = begun()
    for frame in range(1, 41):
        state = followed(state, memory(frame), logits())
    memories, pointers = attended(state, 41)
    assert [(place, one.frame) for place, one in memories] == [
        (MEMORIES, 0),
        *((40 - frame, frame) for frame in range(35, 41)),
    ]
    assert [(since, one.frame) for since, one in pointers] == [
        (41, 0),
        *((41 - frame, frame) for frame in range(41 - POINTERS, 41)),
    ]


def test_frames_left_out_leave_no_memory() -> None:
    state = followed(begun(), memory(10), logits())
    memories, pointers = attended(state, 14)
    assert [(place, one.frame) for place, one in memories] == [(MEMORIES, 0), (3, 10)]
    assert [since for since, _ in pointers] == [14, 4]


def test_prompts_keep_the_closest_conditioning_frames() -> None:
    state = begun()
    for frame in range(1, 8):
        state = prompted("v", MEMORIES, state, memory(frame), logits(), look())
    assert [one.frame for one in state.conditioning] == [4, 5, 6, 7]
    assert len(state.conditioning) == MAX_CONDITIONING
    assert [one.frame for one in state.recent] == [0, 1, 2, 3]
    assert [one.frame for one in state.recent if one.features is None] == [0, 1]


def test_a_prompt_on_an_earlier_frame_forgets_what_was_tracked_after_it() -> None:
    state = begun()
    for frame in range(1, 21):
        state = followed(state, memory(frame), logits())
    again = prompted("v", MEMORIES, state, memory(12), logits(), look())
    assert again.frame == 12
    assert [one.frame for one in again.conditioning] == [0, 12]
    assert [one.frame for one in again.recent] == list(range(6, 12))
    _, pointers = attended(prompted("v", MEMORIES, again, memory(5), logits(), look()), 6)
    assert [since for since, _ in pointers] == [6, 1]  # not those of frame 12, which is still to come


def follow(engine: Engine, features: list[Features], tracked: Tracked, last: int) -> list[Tracked]:
    found = [tracked]
    for frame in range(tracked.state.frame + 1, last + 1):
        found += step(engine, [StepItem(features[frame], [found[-1].state], frame)])[0]
    return found


def same(one: Tracked, other: Tracked) -> None:
    np.testing.assert_allclose(one.mask_logits, other.mask_logits, rtol=1e-3, atol=5e-3)
    assert one.quality == pytest.approx(other.quality, abs=1e-3)
    assert one.presence == pytest.approx(other.presence, abs=1e-3)


def test_objects_of_many_frames_and_videos_in_one_call_are_as_each_alone(
    random_tracker: Engine, random_features: list[Features]
) -> None:
    prompts: list[TrackPrompt] = [
        VisualPrompt((Point(35, 70),)),
        VisualPrompt((Point(35, 70), Point(9, 9, False))),
        VisualPrompt(box=(20, 160, 60, 200)),
        MaskPrompt.of(np.eye(40, dtype=np.bool_)),
    ]
    alone = []
    for place, prompt in enumerate(prompts):
        first = start(random_tracker, [StartItem(random_features[place], SIZE, [prompt], place)])[0][0]
        alone.append(follow(random_tracker, random_features, first, place + 3))
    items = [StartItem(random_features[place], SIZE, [prompt], place) for place, prompt in enumerate(prompts)]
    together = [row[0] for row in start(random_tracker, items)]
    for later in range(1, 4):
        for our, their in zip(together, (row[later - 1] for row in alone), strict=True):
            same(our, their)
        steps = [
            StepItem(random_features[place + later], [one.state], place + later)
            for place, one in enumerate(together)
        ]
        together = [row[0] for row in step(random_tracker, steps)]
    shared = start(random_tracker, [StartItem(random_features[0], SIZE, [prompts[0]] * 20)])[0]
    assert (
        len(step(random_tracker, [StepItem(random_features[1], [one.state for one in shared], 1)])[0]) == 20
    )


def test_no_function_changes_a_state(random_tracker: Engine, random_features: list[Features]) -> None:
    click = VisualPrompt((Point(35, 70),))
    state = start(random_tracker, [StartItem(random_features[0], SIZE, [click])])[0][0].state
    before = save(dict(store(state).arrays))
    step(random_tracker, [StepItem(random_features[1], [state], 1)])
    correct(random_tracker, [CorrectItem(random_features[0], SIZE, [state], [click], 0)])
    assert save(dict(store(state).arrays)) == before


@pytest.mark.parametrize("frames", [0, 3, 17])
def test_a_stored_track_goes_on_as_the_original(
    random_tracker: Engine, random_features: list[Features], frames: int
) -> None:
    click = VisualPrompt((Point(35, 70),))
    first = start(random_tracker, [StartItem(random_features[0], SIZE, [click])])[0][0]
    state = follow(random_tracker, random_features, first, min(frames, 16))[-1].state
    stored = store(state)
    block = save(dict(stored.arrays))
    assert len(block) < state.nbytes + 2000
    restored = restore(replace(stored, arrays=load(block)), random_tracker)
    item = StepItem(random_features[state.frame + 1], [state, restored], state.frame + 1)
    ours, theirs = step(random_tracker, [item])[0]
    assert restored.nbytes == state.nbytes
    assert torch.equal(ours.mask_logits, theirs.mask_logits)
    click_again = CorrectItem(random_features[state.frame], SIZE, [state, restored], [click] * 2, state.frame)
    ours, theirs = correct(random_tracker, [click_again])[0]
    assert torch.equal(ours.mask_logits, theirs.mask_logits)


def test_a_track_of_another_model_is_refused(random_tracker: Engine, random_features: list[Features]) -> None:
    state = start(random_tracker, [StartItem(random_features[0], SIZE, [VisualPrompt()])])[0][0].state
    other = Engine.random(TINY, seed=1, device="cpu", dtype="float32", video=True)
    with pytest.raises(StaleTrack):
        restore(store(state), other)
    with pytest.raises(StaleTrack):
        step(other, [StepItem(random_features[1], [state], 1)])


def test_an_engine_without_the_parts_for_video_says_so(
    random_engine: Engine, random_features: list[Features]
) -> None:
    with pytest.raises(ValueError, match="without the parts for video"):
        start(random_engine, [StartItem(random_features[0], SIZE, [VisualPrompt()])])


@pytest.mark.parametrize("frame", [0, 1])
def test_a_frame_is_not_tracked_twice(
    random_tracker: Engine, random_features: list[Features], frame: int
) -> None:
    state = start(random_tracker, [StartItem(random_features[0], SIZE, [VisualPrompt()], 1)])[0][0].state
    with pytest.raises(ValueError, match="not later"):
        step(random_tracker, [StepItem(random_features[frame], [state], frame)])
