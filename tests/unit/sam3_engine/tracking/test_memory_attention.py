"""The attention to memories gives what the package's module gives, on every device's way."""

import copy

import pytest
import torch

from sam3_engine.engine import Engine
from sam3_engine.spec import TINY
from sam3_engine.tracking import memory_attention
from sam3_engine.tracking.memory_attention import attend

CELLS, WIDTH, MEMORY = TINY.grid**2, TINY.d_model, TINY.d_model // 4
KEPT, POINTERS = 3, 8


@pytest.mark.parametrize("way", ["cpu", "kernel"])
@pytest.mark.parametrize("rows", [None, [0, 1, 1, 0]], ids=["one frame", "two frames"])
@torch.inference_mode()
def test_objects_see_what_the_package_lets_them_see(
    random_tracker: Engine, monkeypatch: pytest.MonkeyPatch, way: str, rows: list[int] | None
) -> None:
    if way == "kernel":
        monkeypatch.delitem(memory_attention.WAYS, "cpu")
    monkeypatch.setattr(memory_attention, "SCORES", 1)  # several blocks
    encoder = random_tracker.model.inst_interactive_predictor.model.transformer.encoder
    made = torch.Generator().manual_seed(0)
    frames = torch.randn(1 if rows is None else 2, CELLS, WIDTH, generator=made)
    position = torch.randn(1, CELLS, WIDTH, generator=made)
    memories, places = torch.randn(2, 4, KEPT * CELLS + POINTERS, MEMORY, generator=made)
    of = torch.tensor(rows or [0] * 4)
    theirs = encoder(
        src=[frames[of].transpose(0, 1)],
        src_key_padding_mask=[None],
        src_pos=[position.expand(4, -1, -1).transpose(0, 1)],
        prompt=memories.transpose(0, 1),
        prompt_pos=places.transpose(0, 1),
        feat_sizes=[(TINY.grid, TINY.grid)],
        num_obj_ptr_tokens=POINTERS,
    )["memory"].transpose(0, 1)
    ours = attend(encoder, frames, position, None if rows is None else of, memories, places, KEPT * CELLS)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours[0], ours[1], atol=0.1), "objects differ by their memories"


@torch.inference_mode()
def test_half_precision_is_near(random_tracker: Engine) -> None:
    exact = random_tracker.model.inst_interactive_predictor.model.transformer.encoder
    half = copy.deepcopy(exact)
    for module in half.modules():
        if isinstance(module, torch.nn.Linear):
            module.to(torch.bfloat16)
    made = torch.Generator().manual_seed(0)
    frames, position = torch.randn(2, 1, CELLS, WIDTH, generator=made)
    memories, places = torch.randn(2, 2, KEPT * CELLS + POINTERS, MEMORY, generator=made)
    expected, found = (
        attend(encoder, frames, position, None, memories, places, KEPT * CELLS) for encoder in (exact, half)
    )
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert (found - expected).norm() < 0.01 * expected.norm()


@torch.no_grad()
def test_nothing_that_is_given_is_changed(random_tracker: Engine) -> None:
    encoder = random_tracker.model.inst_interactive_predictor.model.transformer.encoder
    given = [torch.randn(*shape) for shape in ((1, CELLS, WIDTH), (1, CELLS, WIDTH))]
    given += [torch.randn(2, CELLS + POINTERS, MEMORY) for _ in range(2)]
    before = [one.clone() for one in given]
    frames, position, memories, places = given
    attend(encoder, frames, position, None, memories, places, CELLS)
    assert all(torch.equal(one, was) for one, was in zip(given, before, strict=True))
