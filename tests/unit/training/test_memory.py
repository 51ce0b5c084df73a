"""Clips are drawn as described, and the memory learns from them without a change to anything else."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from sam3_engine.bundled import BUNDLED_TINY
from sam3_engine.roles import VIDEO_ONLY
from sam3_engine.spec import TINY
from training.evaluate_video import Figures, outline_f, overlap, summary
from training.held_out_clips import draw_held_out_clip
from training.memory import TRAINED, clip_losses, trained
from training.moving import draw_clip
from training.moving.paths import Motion, meeting, through
from training.schedule import Plan
from training.train_memory import ClipStep, Course, run, start

SMALL = ClipStep(clips=1, frames=3, objects=2)


def test_a_clip_is_its_seeds() -> None:
    one, same, other = draw_clip(5, 4, 112), draw_clip(5, 4, 112), draw_clip(6, 4, 112)
    np.testing.assert_array_equal(one.frames, same.frames)
    np.testing.assert_array_equal(one.owners, same.owners)
    assert not np.array_equal(one.frames, other.frames)


@pytest.mark.parametrize("seed", range(12))
def test_every_object_is_seen_in_the_first_frame_and_owners_are_objects(seed: int) -> None:
    clip = draw_clip(seed, 5, 112)
    assert clip.frames.shape == (5, 112, 112, 3)
    assert set(np.unique(clip.owners)) <= set(range(-1, clip.objects))
    assert all(clip.mask(0, number).sum() >= 40 for number in range(clip.objects))


def test_objects_move_and_some_leave() -> None:
    clips = [draw_clip(seed, 8, 112) for seed in range(30)]
    moved = [
        (clip.mask(0, number) & clip.mask(7, number)).sum() / clip.mask(0, number).sum()
        for clip in clips
        for number in range(clip.objects)
    ]
    assert np.mean(np.array(moved) < 0.5) > 0.3
    hidden = [not clip.mask(t, n).any() for clip in clips for n in range(clip.objects) for t in range(8)]
    assert 0.01 < np.mean(hidden) < 0.4


def test_a_curve_goes_through_its_first_and_last_place() -> None:
    places = np.array([[0.0, 0], [1, 2], [3, 1]])
    curve = through(places, 21)
    np.testing.assert_allclose(curve[[0, 20]], places[[0, 2]], atol=1e-6)
    np.testing.assert_allclose(curve[10], places[1], atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_a_meeting_begins_apart_and_passes_close(seed: int) -> None:
    rng = np.random.default_rng(seed)
    still = np.zeros(9)
    other = Motion(through(rng.uniform(0.3, 0.7, (3, 2)), 9), still, still + 1)
    one = meeting(Motion(np.zeros((9, 2)), still + 2, still + 3), other, reach=0.3, frame=4, rng=rng)
    apart = np.linalg.norm(one.at - other.at, axis=1)
    assert 0.3 <= apart[0] <= 0.3 * 1.06
    assert apart.argmin() == 4
    assert apart[4] <= 0.1 + 1e-9
    np.testing.assert_array_equal(np.stack([one.turn, one.grow]), np.stack([still + 2, still + 3]))


def test_only_the_memory_learns_and_all_of_it() -> None:
    model = start(BUNDLED_TINY)
    parameters = trained(model)
    losses = [
        clip_losses(model, [draw_clip(seed, 4, TINY.image_size)], 2, random.Random(seed)) for seed in range(2)
    ]
    assert all(torch.isfinite(value) for each in losses for value in each.values())
    torch.stack([each["mask"] + each["presence"] for each in losses]).sum().backward()
    learning = {name for name, one in model.named_parameters() if one.grad is not None and one.grad.any()}
    assert learning
    assert all(name.startswith(TRAINED) for name in learning)
    for part in VIDEO_ONLY:
        if not part.endswith(("no_mem_pos_enc", "mask_downsample", "no_obj_ptr", "no_obj_embed_spatial")):
            assert any(name.startswith(part) for name in learning), part
    assert len(parameters) == sum(one.requires_grad for one in model.parameters())


def test_training_stops_and_goes_on(tmp_path: Path) -> None:
    def steps(number: int, folder: str) -> dict[str, torch.Tensor]:
        plan = Plan(steps=number, dense_share=0.0, learning_rate=1e-3)
        state: dict[str, torch.Tensor] = run(0, 1, plan, Course(tmp_path / folder, size=SMALL)).state_dict()
        return state

    steps(2, "one")
    resumed = steps(3, "one")
    state = torch.load(tmp_path / "one" / "state.pt", weights_only=True)
    assert state["step"] == 3
    before = start(BUNDLED_TINY).state_dict()
    changed = {name for name, value in resumed.items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(TRAINED) for name in changed)


def test_held_out_clips_have_objects_that_move_and_meet() -> None:
    clips = [draw_held_out_clip(seed, 20) for seed in range(3)]
    assert all(set(np.unique(clip.owners)) <= set(range(-1, clip.objects)) for clip in clips)
    assert sum(clip.crossings for clip in clips) > 0
    np.testing.assert_array_equal(draw_held_out_clip(3, 2).frames, draw_held_out_clip(3, 2).frames)


def test_overlap_and_outline_of_equal_and_of_other_masks() -> None:
    truth = np.zeros((100, 100), dtype=np.bool_)
    truth[20:60, 20:60] = True
    shifted = np.roll(truth, 20, axis=1)
    nothing = np.zeros_like(truth)
    assert overlap(truth, truth) == outline_f(truth, truth) == 1
    assert overlap(shifted, truth) == pytest.approx(1 / 3)
    assert 0.2 < outline_f(shifted, truth) < 0.8
    assert outline_f(np.roll(truth, 1, axis=1), truth) == 1  # within 0.8 % of the diagonal
    assert overlap(nothing, truth) == outline_f(nothing, truth) == 0
    assert overlap(nothing, nothing) == outline_f(nothing, nothing) == 1


def test_switches_are_counted_for_each_object_and_crossing() -> None:
    told = summary([Figures([1.0, 0.5], [1.0, 0.7], 1, 4, 2, 1), Figures([0.0], [0.0], 0, 0, 1, 0)])
    assert (told["switches an object"], told["switches a crossing"]) == (pytest.approx(1 / 3), 0.25)
    assert told["on another"] == pytest.approx(1 / 3)
    assert told["J&F"] == pytest.approx((0.5 + 1.7 / 3) / 2)
