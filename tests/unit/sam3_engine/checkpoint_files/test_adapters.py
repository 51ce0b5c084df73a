"""Adapters made by peft, over the package's model and over transformers', give the weights that peft itself merges."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import nn

from sam3_engine.assembly import build_model
from sam3_engine.checkpoint_files.checkpoint import Checkpoint, open_checkpoint
from sam3_engine.checkpoint_files.fitting import Shapes, Weights, fit
from sam3_engine.checkpoint_files.names import official_name
from sam3_engine.errors import CheckpointError, WrongCheckpoint
from sam3_engine.spec import TINY

TRUNK = r"backbone\.vision_backbone\.trunk\.blocks\.\d+\.(attn\.(qkv|proj)|mlp\.fc1)"
CASES: dict[str, dict[str, Any]] = {
    "lora": {"target_modules": TRUNK},
    "dora": {"target_modules": TRUNK, "use_dora": True},
    "rank-stabilised": {"target_modules": TRUNK, "use_rslora": True, "lora_alpha": 5},
    "patterns": {
        "target_modules": TRUNK,
        "rank_pattern": {r"blocks\.1\.attn\.qkv": 2},
        "alpha_pattern": {r"blocks\.1\.attn\.qkv": 32, r"mlp\.fc1": 1},
    },
    "biases and whole modules": {
        "target_modules": TRUNK,
        "bias": "lora_only",
        "modules_to_save": ["hs_proj"],
    },
    "attention of torch": {"target_modules": r"transformer\.encoder\.layers\.\d+\.cross_attn_image"},
    "convolutions": {"target_modules": r".*vision_backbone\.convs\.0\.conv_3x3|.*trunk\.patch_embed\.proj"},
    "convolutions with dora": {"target_modules": r".*vision_backbone\.convs\.0\.conv_3x3", "use_dora": True},
    "embeddings": {"target_modules": r"geometry_encoder\.label_embed"},
}


def trained(model: nn.Module, **options: Any) -> Any:
    """A peft model whose adapter does something."""
    torch.manual_seed(11)
    adapted = get_peft_model(model, LoraConfig(r=4, **options))
    for name, value in adapted.named_parameters():
        if value.requires_grad:
            near_one = "magnitude" in name
            value.data += (0.1 * value.data.abs() if near_one else 0.1) * torch.randn_like(value)
    return adapted


@pytest.mark.filterwarnings("ignore::UserWarning:peft")
@pytest.mark.parametrize("case", CASES)
def test_an_adapter_over_the_packages_model(shapes: Shapes, tmp_path: Path, case: str) -> None:
    model = build_model(TINY)
    torch.save(model.state_dict(), tmp_path / "base.pt")
    adapted = trained(model, **CASES[case])
    adapted.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    opened = open_checkpoint(tmp_path / "adapter" / "adapter_model.safetensors")
    assert opened.format == ("peft DoRA adapter" if "dora" in case else "peft LoRA adapter")
    base = open_checkpoint(tmp_path / "base.pt")
    weights = fit(opened, shapes, lambda: base)
    merged = adapted.merge_and_unload().state_dict()
    assert weights.superfluous == ()
    assert weights.own
    for key, value in merged.items():
        name = official_name(key)
        if name in shapes:
            torch.testing.assert_close(weights.tensors[name].read(), value, rtol=1e-5, atol=1e-6, msg=name)
    changed = [
        name
        for name in weights.own
        if not torch.equal(weights.tensors[name].read(), base.tensors[name].read())
    ]
    assert sorted(changed) == sorted(weights.own), "each weight that the adapter names is changed"


@pytest.mark.filterwarnings("ignore::UserWarning:peft")
@pytest.mark.parametrize("dora", [False, True])
def test_an_adapter_over_the_model_of_transformers(
    theirs: Any, shapes: Shapes, tmp_path: Path, dora: bool
) -> None:
    import copy

    model = copy.deepcopy(theirs.detector_model)
    theirs.save_pretrained(tmp_path / "base")
    adapted = trained(
        model,
        target_modules=r".*layers\.\d+\.(attention|self_attn|cross_attn|text_cross_attn)\.(q|v|o)_proj|.*text_projection",
        use_dora=dora,
    )
    adapted.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    base = open_checkpoint(tmp_path / "base" / "model.safetensors")
    opened = open_checkpoint(tmp_path / "adapter" / "adapter_model.safetensors")
    weights = fit(opened, shapes, lambda: base)
    assert weights.superfluous == ()
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    merged = open_checkpoint(tmp_path / "merged" / "model.safetensors")
    assert any("in_proj" in name for name in weights.own)
    for name, value in merged.tensors.items():
        torch.testing.assert_close(weights.tensors[name].read(), value.read(), rtol=1e-5, atol=1e-6, msg=name)


def write(folder: Path, tensors: dict[str, torch.Tensor], **config: Any) -> Path:
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 2} | config)
    )
    return folder / "adapter_model.safetensors"


def factors(module: str, rows: int, columns: int) -> dict[str, torch.Tensor]:
    start = f"base_model.model.{module}."
    return {f"{start}lora_A.weight": torch.ones(2, columns), f"{start}lora_B.weight": torch.ones(rows, 2)}


HS = "dot_prod_scoring.hs_proj"


def laid(path: Path, base: Checkpoint, shapes: Shapes) -> Weights:
    return fit(open_checkpoint(path), shapes, lambda: base)


def test_the_product_is_added(base: Checkpoint, shapes: Shapes, tmp_path: Path) -> None:
    weights = laid(write(tmp_path, factors(HS, 64, 64), lora_alpha=6), base, shapes)
    name = f"detector.{HS}.weight"
    assert weights.own == (name,)
    torch.testing.assert_close(weights.tensors[name].read(), base.tensors[name].read() + 2 * 3)


def test_an_adapter_without_a_base_is_refused(shapes: Shapes, tmp_path: Path) -> None:
    path = write(tmp_path, factors(HS, 64, 64))
    with pytest.raises(WrongCheckpoint, match="is an adapter: name the weights"):
        fit(open_checkpoint(path), shapes)


def test_an_adapter_for_another_model_is_named(base: Checkpoint, shapes: Shapes, tmp_path: Path) -> None:
    path = write(tmp_path, factors("model.layers.0.self_attn.q_proj", 64, 64))
    with pytest.raises(
        WrongCheckpoint, match=r"an adapter for another model: it changes model.layers.0.self_attn.q_proj"
    ):
        laid(path, base, shapes)


def test_a_module_that_does_not_exist_is_told(base: Checkpoint, shapes: Shapes, tmp_path: Path) -> None:
    weights = laid(write(tmp_path, factors(HS, 64, 64) | factors("lm_head", 8, 8)), base, shapes)
    assert weights.superfluous == ("lm_head",)


@pytest.mark.parametrize(("rows", "columns"), [(64, 65), (32, 64), (65, 64)])
def test_factors_of_another_size_are_refused(
    base: Checkpoint, shapes: Shapes, tmp_path: Path, rows: int, columns: int
) -> None:
    with pytest.raises(WrongCheckpoint, match=rf"{HS} does not fit .*\[64, 64\]"):
        laid(write(tmp_path, factors(HS, rows, columns)), base, shapes)


def test_half_of_the_factors_is_refused(base: Checkpoint, shapes: Shapes, tmp_path: Path) -> None:
    half = dict(list(factors(HS, 64, 64).items())[:1])
    with pytest.raises(WrongCheckpoint, match=r"lora_B"):
        laid(write(tmp_path, half), base, shapes)


def test_an_adapter_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongCheckpoint, match="of the type LOHA"):
        open_checkpoint(write(tmp_path, factors(HS, 64, 64), peft_type="LOHA"))


def test_a_missing_or_broken_configuration_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, factors(HS, 64, 64))
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(WrongCheckpoint, match="no configuration of peft"):
        open_checkpoint(path)
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match="not beside it"):
        open_checkpoint(path)
