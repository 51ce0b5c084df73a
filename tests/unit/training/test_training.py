"""The recipe learns, stops and resumes."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from sam3_engine.encode_masks import visual_instance
from sam3_engine.engine import VisualMask
from sam3_engine.spec import TINY
from sam3_engine.types import ImageSize
from training.evaluate import GATE, Tally, answered, table
from training.recipe import WEIGHTS, StepSize, draw_batch, full_step
from training.states import averaged_model
from training.train import Plan, Trainee, learning_rate, run

SMALL = StepSize(scenes=2, concepts_per_scene=3, masked_prompts=2, objects_per_scene=1)


def total(trainee: Trainee) -> torch.Tensor:
    losses = full_step(TINY, trainee.model, trainee.dense, draw_batch(TINY, [5, 6]), SMALL, random.Random(1))
    assert set(losses) == set(WEIGHTS)
    assert all(torch.isfinite(value) for value in losses.values())
    return torch.stack([WEIGHTS[name] * value for name, value in losses.items()]).sum()


def test_steps_on_one_batch_lower_its_loss() -> None:
    trainee = Trainee(seed=0)
    optimizer = torch.optim.AdamW(trainee.trained(), lr=1e-3)
    before = total(trainee).item()
    for _ in range(4):
        optimizer.zero_grad()
        total(trainee).backward()
        optimizer.step()
    assert total(trainee).item() < before


def test_every_part_that_images_use_learns() -> None:
    trainee = Trainee(seed=0)
    total(trainee).backward()
    silent = [
        name
        for name, parameter in trainee.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    trained = {id(parameter) for parameter in trainee.trained()}
    named = dict(trainee.named_parameters())
    learning = {name for name in named if id(named[name]) in trained and name not in silent}
    for part in (
        "model.transformer.encoder.",
        "model.transformer.decoder.",
        "model.geometry_encoder.",
        "model.segmentation_head.",
        "model.dot_prod_scoring.",
        "model.backbone.language_backbone.",
        "model.backbone.vision_backbone.trunk.",
        "model.inst_interactive_predictor.model.sam_mask_decoder.",
        "model.inst_interactive_predictor.model.sam_prompt_encoder.",
    ):
        ours = {name for name in named if name.startswith(part)}
        assert len(ours & learning) > 0.7 * len(ours), sorted(ours - learning)


def test_training_resumes_where_it_stopped(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    run(0, 1, Plan(steps=2, dense_steps=1, dense_scenes=1), tmp_path, threads, 0)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2
    run(0, 1, Plan(steps=3, dense_steps=1, dense_scenes=1), tmp_path, threads, 0)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 3
    model = averaged_model(tmp_path / "state.pt")
    assert model.backbone.language_backbone.encoder.token_embedding.weight.shape == (49408, TINY.text_dim)


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    plan = Plan(steps=100, dense_steps=20, warm_up_steps=10)
    rates = [learning_rate(plan, step) for step in range(101)]
    assert rates[0] < rates[9]
    assert rates[20] < rates[29]
    assert max(rates) <= plan.learning_rate
    assert rates[100] == pytest.approx(0)


def test_a_tally_matches_one_to_one() -> None:
    left, right = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    left[:, :2], right[:, 2:] = True, True
    tally = Tally()
    tally.add([left, left, right], [left, right])
    assert (tally.right, tally.found, tally.wanted) == (2, 3, 2)
    assert tally.f1 == pytest.approx(0.8)
    nothing = Tally()
    nothing.add([], [])
    assert nothing.f1 == 0


def test_the_table_shows_every_bar() -> None:
    shown = table(dict.fromkeys(GATE, 0.5))
    for name, bar in GATE.items():
        assert f"| {name} | 0.500 | {bar:.2f} |" in shown


def test_clicks_are_measured_on_the_masks_that_clients_get() -> None:
    """With small holes filled."""
    logits = torch.full((56, 56), 4.0)
    logits[20:24, 20:24] = -4.0
    size = ImageSize(112, 112)
    mask = VisualMask(0.9, logits, logits.numpy())
    (measured,) = answered([mask], size)
    assert measured.all()
    assert np.array_equal(measured, visual_instance(mask, size, "binary").masks)
