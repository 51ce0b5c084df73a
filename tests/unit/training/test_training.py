"""The recipe learns, stops and resumes."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from sam3_engine.concept import encode_text
from sam3_engine.encode_masks import visual_instance
from sam3_engine.engine import Engine, VisualMask
from sam3_engine.roles import ENCODER_PARTS, MASK_DECODER, TRACKER, VIDEO_ONLY
from sam3_engine.spec import TINY
from sam3_engine.types import ImageSize
from training.batches import Scenes, StepSize, draw_batch
from training.concepts import ARTICLE, COLOURS, READ_AS_THE_ARTICLE
from training.dense import PatchKinds, dense_loss
from training.evaluate import SETS, Report, Tally, answered, table
from training.losses import varifocal
from training.optimizers import Optimizers
from training.recipe import WEIGHTS, full_step
from training.scenes import draw_scene
from training.schedule import Plan, learning_rate, progress
from training.states import averaged_model
from training.stream import Source, batches
from training.train import Course, run
from training.trainee import Trainee

SMALL = StepSize(scenes=2, concepts_per_scene=3, masked_prompts=2, objects_per_scene=1)
BATCH = Source(TINY, SMALL, 2).batch(2)
ONE = StepSize(scenes=1)


def total(trainee: Trainee) -> torch.Tensor:
    losses = full_step(trainee.model, trainee.dense, BATCH, SMALL.masked_prompts, random.Random(1))
    assert set(losses) == set(WEIGHTS)
    assert all(torch.isfinite(value) for value in losses.values())
    return torch.stack([WEIGHTS[name] * value for name, value in losses.items()]).sum()


def test_steps_on_one_batch_lower_its_loss() -> None:
    trainee = Trainee(seed=0)
    optimizers = Optimizers(trainee.trained(), Plan())
    before = total(trainee).item()
    for _ in range(4):
        optimizers.zero_grad()
        total(trainee).backward()
        optimizers.step(1e-3)
    assert total(trainee).item() < before


def test_every_part_that_images_use_learns() -> None:
    trainee = Trainee(seed=0)
    total(trainee).backward()
    silent = [
        name
        for name, parameter in trainee.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    named = dict(trainee.named_parameters())
    learning = trainee.trained().keys() - set(silent)
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


class _Certain(PatchKinds):
    """Says the same of every cell, and keeps what it said."""

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.said = torch.zeros(1, 5 + len(COLOURS), 16, 16, requires_grad=True)
        return self.said, torch.zeros(1, 4, 4, 4)


def test_every_object_teaches_the_trunk_as_much_as_another_one() -> None:
    coverage = torch.zeros(1, 2, 16, 16, dtype=torch.uint8)
    coverage[0, 0, :10, :10] = 255
    coverage[0, 1, 14, 14:] = 255
    cells = torch.where(coverage[0, 0] > 0, 1, torch.where(coverage[0, 1] > 0, 2, 0))[None]
    scenes = Scenes(
        pictures=torch.zeros(1, 56, 56, 3, dtype=torch.uint8),
        coverage=coverage,
        shapes=cells,
        colours=cells - 1,
        sides=torch.zeros(1, 4, 4, 4),
        inside=torch.zeros(1, 4, 4, dtype=torch.bool),
        meant=torch.zeros(1, 2, 1, dtype=torch.bool),
    )
    head = _Certain(8)
    dense_loss(head, torch.zeros(1, 8, 4, 4), scenes).backward()
    assert head.said.grad is not None
    pulls = head.said.grad[0].abs().sum(0)
    large, small = (pulls[cells[0] == kind].sum().item() for kind in (1, 2))
    assert large == pytest.approx(small)
    assert large > 0


@pytest.mark.parametrize(("right", "rises"), [(0.3, False), (0.5, True)])
def test_a_score_of_a_half_is_that_of_a_query_that_is_right_in_four_of_ten_cases(
    right: float, rises: bool
) -> None:
    logits = torch.zeros(1, 1, 1, requires_grad=True)
    first, none = torch.tensor([0]), torch.tensor([], dtype=torch.long)
    here, quality = torch.tensor([True]), torch.tensor([0.9])
    loss = right * varifocal(logits, here, (first, first, first), quality)
    loss = loss + (1 - right) * varifocal(logits, here, (none, none, none), quality[:0])
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad.item() < 0) is rises


def test_training_begins_with_the_bundled_weights_where_it_is_asked_to() -> None:
    bundled = Engine.load("tiny", device="cpu").model.state_dict()
    begun = Trainee(seed=0, bundled=True).model
    table = "backbone.language_backbone.encoder.token_embedding.weight"
    state = begun.state_dict()
    assert all(torch.equal(state[name], value) for name, value in bundled.items() if name != table)
    rows = begun.backbone.language_backbone.encoder.token_embedding.table()
    assert torch.equal(rows, bundled[table])


def test_words_that_leave_a_phrase_as_it_is_are_read_as_the_article() -> None:
    model = Engine.load("tiny", device="cpu").model
    wanted = encode_text(model, [f"{ARTICLE} red circle"]).tokens
    found = encode_text(model, [f"{word} red circle" for word in READ_AS_THE_ARTICLE]).tokens
    assert torch.equal(found, wanted.expand_as(found))
    assert not torch.equal(encode_text(model, ["cat red circle"]).tokens, wanted)


def test_the_bundled_model_errs_little_on_the_scenes_that_it_knows() -> None:
    """Prompts, targets and masks of a batch fit each other, or its losses were high."""
    trainee = Trainee(seed=0, bundled=True)
    scenes = [draw_scene(seed) for seed in range(20_000_000, 20_000_004)]
    batch = draw_batch(TINY, scenes, StepSize(), random.Random(1))
    with torch.no_grad():
        losses = full_step(trainee.model, trainee.dense, batch, 6, random.Random(2))
    assert losses["l1"] < 0.15
    assert losses["masks"] < 0.4
    assert losses["clicks"] < 0.4
    assert losses["presence"] < 0.5


def test_training_resumes_where_it_stopped(tmp_path: Path) -> None:
    run(0, 1, Plan(steps=2, dense_share=0.5), Course(tmp_path, ONE))
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2
    run(0, 1, Plan(steps=3, dense_share=0.5), Course(tmp_path, ONE))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 3
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [2, 3]
    model = averaged_model(tmp_path / "state.pt")
    assert model.backbone.language_backbone.encoder.token_embedding.weight.shape == (49408, TINY.text_dim)


def test_a_run_is_not_gone_on_with_by_one_that_trains_other_parts(tmp_path: Path) -> None:
    run(0, 1, Plan(steps=1, dense_share=0.0), Course(tmp_path, ONE, bundled=True, clicks=True))
    with pytest.raises(ValueError, match="trained other parts: give this one another folder"):
        run(0, 1, Plan(steps=2, dense_share=0.0), Course(tmp_path, ONE, bundled=True))


def test_training_of_clicks_leaves_all_embeddings_as_they_are(tmp_path: Path) -> None:
    run(0, 1, Plan(steps=2, dense_share=0.0), Course(tmp_path, ONE, bundled=True, clicks=True))
    before = Trainee(0, bundled=True).model.state_dict()
    after = averaged_model(tmp_path / "state.pt").state_dict()
    changed = {
        name
        for name, value in before.items()
        if "token_embedding" not in name and not torch.equal(value, after[name])
    }
    assert any(name.startswith(MASK_DECODER) for name in changed)
    assert not any(name.startswith((*ENCODER_PARTS, *VIDEO_ONLY)) for name in changed)
    assert all(name.startswith((MASK_DECODER, f"{TRACKER}.sam_prompt_encoder")) for name in changed)


def test_a_run_of_minutes_ends_with_them() -> None:
    plan = Plan(steps=10, minutes=2)
    assert progress(plan, step=1000, seconds=60) == 0.5
    assert progress(plan, step=1, seconds=130) == 1
    assert progress(Plan(steps=10), step=5, seconds=1e6) == 0.5


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    plan = Plan(dense_share=0.2, warm_up=0.1)
    rates = [learning_rate(plan, done / 100) for done in range(101)]
    assert 0 < rates[0] < rates[9]
    assert rates[20] < rates[29]
    assert max(rates) <= plan.learning_rate
    assert rates[100] == pytest.approx(0)


def test_workers_draw_the_batches_that_one_process_draws() -> None:
    source = Source(TINY, ONE, first=3)
    worked = batches(source, workers=2)
    for step in (3, 4, 5):
        assert torch.equal(next(worked).scenes.pictures, source.batch(step).scenes.pictures)


def test_two_processes_draw_different_scenes() -> None:
    first, second = (Source(TINY, ONE, 7, rank, processes=2).batch(7) for rank in (0, 1))
    assert not torch.equal(first.scenes.pictures, second.scenes.pictures)


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


def test_reports_of_parts_are_that_of_the_whole() -> None:
    whole, mask = np.zeros((2, 2), bool), np.eye(2, dtype=bool)
    reports = [Report(), Report()]
    for report, found in zip(reports, ([mask], []), strict=True):
        report.concepts.add(found, [mask])
        report.exemplars.add(found, [mask])
        report.presence.append(bool(found))
        report.absent_empty.append(True)
        report.add_masks("box", [mask], [mask if found else whole])
    reports[0].join(reports[1])
    figures = reports[0].figures()
    assert figures["concept recall"] == figures["presence accuracy"] == figures["box IoU"] == 0.5
    assert figures["concept F1"] == figures["exemplar F1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", SETS)
def test_the_table_shows_every_bar(name: str) -> None:
    gate = SETS[name].gate
    shown = table(dict.fromkeys(gate, 0.5), gate)
    for figure, bar in gate.items():
        assert f"| {figure} | 0.500 | {bar:.2f} |" in shown


def test_clicks_are_measured_on_the_masks_that_clients_get() -> None:
    """Clients get masks with small holes filled."""
    logits = torch.full((56, 56), 4.0)
    logits[20:24, 20:24] = -4.0
    size = ImageSize(112, 112)
    mask = VisualMask(0.9, logits, logits.numpy())
    (measured,) = answered([mask], size)
    assert measured.all()
    assert np.array_equal(measured, visual_instance(mask, size, "binary").masks)
