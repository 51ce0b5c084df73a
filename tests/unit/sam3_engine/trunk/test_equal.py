"""Our trunk and the package's give the same, on the same weights."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from sam3.model.vitdet import ViT, apply_rotary_enc, compute_axial_cis, window_partition

from sam3_engine.assembly import build_model
from sam3_engine.spec import SAM3, TINY, ModelSpec
from sam3_engine.trunk.block import Block, GlobalBlock, WindowedBlock
from sam3_engine.trunk.rope import rotate, table, window_order
from sam3_engine.trunk.vit import Trunk
from sam3_engine.weights import COMPUTED


def package(spec: ModelSpec) -> ViT:
    """The package's trunk with random weights, all of which matter: it starts its biases at 0."""
    torch.manual_seed(1)
    vit: ViT = build_model(spec).backbone.vision_backbone.trunk.requires_grad_(False)
    for parameter in vit.parameters():
        if parameter.dim() == 1:
            parameter += 0.3 * torch.randn_like(parameter)
    return vit


def package_block(spec: ModelSpec) -> torch.nn.Module:
    """The only block of a trunk of one, with random weights."""
    block: torch.nn.Module = build_model(spec).backbone.vision_backbone.trunk.blocks[0]
    return block.requires_grad_(False)


@cache
def official(which: int) -> tuple[ModelSpec, dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """A trunk of one block of the official size, windowed or global: its weights, tokens, and what the package makes
    of them."""
    # The text encoder plays no part.
    spec = replace(SAM3, vit_depth=1, vit_global_blocks=(0,) if which else (), text_layers=1, text_dim=64)
    torch.manual_seed(3)
    theirs = package_block(spec)
    state = {name: value for name, value in theirs.state_dict().items() if "freqs" not in name}
    tokens = torch.randn(1, spec.grid, spec.grid, spec.vit_dim)
    return spec, state, tokens, theirs(tokens).flatten(1, 2)


@pytest.fixture(scope="module")
def tiny() -> ViT:
    return package(TINY)


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Relative to the size of theirs."""
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("images", [1, 3])
def test_it_equals_the_packages_trunk(tiny: ViT, images: int) -> None:
    pixels = torch.rand(images, 3, TINY.image_size, TINY.image_size) * 2 - 1
    theirs = tiny(pixels)[-1]
    ours = Trunk.of(TINY, tiny.state_dict(), torch.float32)(pixels)[-1]
    assert ours.shape == theirs.shape
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert difference(ours, theirs) < 1e-5
    assert float((ours - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [WindowedBlock, GlobalBlock])
@pytest.mark.parametrize("spec", [TINY, SAM3], ids=lambda spec: spec.name)
def test_the_rotation_is_the_packages_bit_by_bit(
    spec: ModelSpec, kind: type[Block], dtype: torch.dtype
) -> None:
    side = spec.vit_window if kind is WindowedBlock else spec.grid
    channels, scale = spec.vit_dim // spec.vit_heads, spec.vit_window / side
    theirs = compute_axial_cis(channels, side, side, scale_pos=scale)
    x = torch.randn(1, side * side, 2, 3, channels, generator=torch.Generator().manual_seed(2)).to(dtype)
    q, k = x.transpose(1, 3).unbind(2)  # [B, heads, L, d] each
    turned = torch.stack(apply_rotary_enc(q, k, theirs), 2).transpose(1, 3)
    assert torch.equal(rotate(x, table(side, channels, scale)), turned)


def test_window_order_is_the_packages() -> None:
    places = torch.arange(TINY.grid**2).view(1, TINY.grid, TINY.grid, 1)
    windows, _ = window_partition(places, TINY.vit_window)
    assert torch.equal(window_order(TINY.grid, TINY.vit_window), windows.flatten())


@pytest.mark.parametrize("which", [0, SAM3.vit_global_blocks[0]], ids=["windowed", "global"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_block_of_the_official_size_equals_the_packages(which: int, dtype: torch.dtype) -> None:
    """The test runs in bfloat16 only where the processor multiplies it: other processors take minutes."""
    if dtype == torch.bfloat16 and not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this processor has no instructions for bfloat16")
    spec, state, tokens, wanted = official(which)
    trunk = Trunk(spec)
    block = trunk.blocks[0].requires_grad_(False)
    block.load_state_dict(state)
    order = window_order(spec.grid, spec.vit_window)
    window, image = trunk.angles(tokens.device)
    for module in block.modules():
        if isinstance(module, torch.nn.Linear):
            module.to(dtype)
    made = block(tokens.flatten(1, 2)[:, order], image if which else window)
    assert difference(made, wanted[:, order]) < (1e-5 if dtype == torch.float32 else 1e-2)


def test_float32_weights_are_shared_with_the_package(tiny: ViT) -> None:
    """A second copy would cost 1.8 GB at the official size."""
    ours = Trunk.of(TINY, tiny.state_dict(), torch.float32)
    theirs = dict(tiny.named_parameters())
    assert {name: one.data_ptr() for name, one in ours.named_parameters()} == {
        name: one.data_ptr() for name, one in theirs.items()
    }


def test_weights_may_come_after_it_was_made_on_the_meta_device(tiny: ViT) -> None:
    with torch.device("meta"):
        ours = Trunk(TINY)
    state = {name: value for name, value in tiny.state_dict().items() if not name.endswith(COMPUTED)}
    ours.load_state_dict(state, assign=True)
    pixels = torch.zeros(1, 3, TINY.image_size, TINY.image_size)
    assert torch.equal(
        ours.requires_grad_(False)(pixels)[-1], Trunk.of(TINY, state, torch.float32)(pixels)[-1]
    )


def test_missing_weights_are_refused(tiny: ViT) -> None:
    state = tiny.state_dict()
    del state["blocks.1.mlp.fc2.bias"]
    with pytest.raises(RuntimeError, match=r"blocks\.1\.mlp\.fc2\.bias"):
        Trunk.of(TINY, state, torch.float32)


@pytest.mark.parametrize("wrong", [{"vit_window": 7}, {"pretrain_image_size": 224}], ids=str)
def test_sizes_that_need_padding_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="windows"):
        Trunk(replace(TINY, **wrong))


def test_half_precision_differs_little(tiny: ViT) -> None:
    pixels = torch.rand(1, 3, TINY.image_size, TINY.image_size) * 2 - 1
    trunk = Trunk.of(TINY, tiny.state_dict(), torch.bfloat16)
    assert {value.dtype for name, value in trunk.state_dict().items() if name.endswith("qkv.weight")} == {
        torch.bfloat16
    }
    assert 0 < difference(trunk(pixels)[-1], tiny(pixels)[-1]) < 0.02
