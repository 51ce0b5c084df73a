"""Files of the package's formats: written from the tiny weights, each gives the same weights back."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sam3_engine.assembly import build_model
from sam3_engine.checkpoint_files.checkpoint import Checkpoint, open_checkpoint
from sam3_engine.checkpoint_files.fitting import Shapes, fit
from sam3_engine.checkpoint_files.inspect import inspect
from sam3_engine.checkpoint_files.names import part_of, used
from sam3_engine.checkpoint_files.shapes import model_shapes
from sam3_engine.checkpoint_files.tensors import unusable
from sam3_engine.engine import Engine
from sam3_engine.errors import WrongCheckpoint
from sam3_engine.loading import read_checkpoint
from sam3_engine.spec import TINY
from scripts.random_checkpoint import official_names
from tests.unit.sam3_engine.checkpoint_files.states import State, assert_equal

CLICKS = ("sam_prompt_encoder.", "sam_mask_decoder.", "mask_downsample.", "obj_ptr_proj.")


def multiplex(official: State) -> State:
    """The same weights as SAM 3.1 has them: other names for clicks, weights for video with the old names, and three
    levels in each neck instead of four."""
    state = {}
    for name, value in official.items():
        if re.search(r"\.(sam2_)?convs\.3\.", name):
            continue
        inner = name.removeprefix("tracker.")
        if inner.startswith(CLICKS):
            state[f"tracker.model.interactive_{inner}"] = value
            state[f"tracker.model.{inner}"] = value - 7  # the propagation's, of other values
        elif inner == "no_mem_embed":
            state["tracker.model.interactivity_no_mem_embed"] = value
        elif not name.startswith("tracker."):
            state[name.replace("sam2_convs", "interactive_convs")] = value
            if "sam2_convs" in name:
                state[name.replace("sam2_convs", "propagation_convs")] = value - 7
    return state


def trained(official: State) -> State:
    """The weights as the package's trainer saves them: the detector's without a prefix, and none for clicks."""
    return {
        name.removeprefix("detector."): value
        for name, value in official.items()
        if name.startswith("detector.") and "sam2_convs" not in name
    }


def test_sam3_pt(official: State, shapes: Shapes, tmp_path: Path) -> None:
    torch.save({"model": official}, tmp_path / "sam3.pt")
    opened = open_checkpoint(tmp_path / "sam3.pt")
    assert (opened.format, opened.container) == ("sam3", "PyTorch")
    weights = fit(opened, shapes)
    assert set(weights.own) == set(shapes)
    assert_equal(weights, official)


def test_sam3_1_multiplex_pt(official: State, shapes: Shapes, tmp_path: Path) -> None:
    torch.save(multiplex(official), tmp_path / "sam3.1_multiplex.pt")
    opened = open_checkpoint(tmp_path / "sam3.1_multiplex.pt")
    assert opened.format == "sam3.1 multiplex"
    assert opened.unknown == ()
    assert {name.split(".")[1] for name in opened.video} == {"model", "backbone"}
    weights = fit(opened, shapes)
    needed = tuple(name for name in shapes if used(name))
    assert_equal(weights, official, needed)
    assert not any(used(name) for name in weights.absent)
    assert all((weights.tensors[name].read() == 0).all() for name in weights.absent), (
        "the same in every process"
    )


def test_the_video_weights_of_sam3_pt_are_read_and_those_of_sam3_1_are_refused(tmp_path: Path) -> None:
    """Else the memory of the base would be joined to a model that it was not trained with."""
    state = official_names(build_model(TINY, video=True).state_dict())
    torch.save(state, tmp_path / "sam3.pt")
    read = read_checkpoint(TINY, str(tmp_path / "sam3.pt"), video=True)
    assert set(read) == set(model_shapes(TINY, video=True))
    name = "tracker.maskmem_backbone.out_proj.weight"
    assert torch.equal(read[name], state[name])
    torch.save(multiplex(state), tmp_path / "sam3.1.pt")
    read_checkpoint(TINY, str(tmp_path / "sam3.1.pt"))
    with pytest.raises(WrongCheckpoint, match="images only"):
        read_checkpoint(TINY, str(tmp_path / "sam3.1.pt"), video=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("change", [dict, multiplex])
def test_repacks_in_half_precision(
    official: State,
    shapes: Shapes,
    tmp_path: Path,
    dtype: torch.dtype,
    change: Callable[[State], State],
) -> None:
    save_file(
        {name: value.to(dtype).contiguous() for name, value in change(official).items()},
        tmp_path / "r.safetensors",
    )
    opened = open_checkpoint(tmp_path / "r.safetensors")
    assert opened.container == "safetensors"
    weights = fit(opened, shapes)
    needed = tuple(name for name in shapes if used(name))
    assert_equal(weights, {name: value.to(dtype) for name, value in official.items()}, needed)


@pytest.mark.parametrize(
    "prefix", ["", "module.", "module._orig_mod.", "model.", "detector.", "base_model.model."]
)
def test_a_fine_tune_is_laid_over_the_base(
    official: State, shapes: Shapes, base: Checkpoint, tmp_path: Path, prefix: str
) -> None:
    state = {prefix + name: value for name, value in trained(official).items()}
    torch.save(
        {"model": state, "optimizer": {"state": {0: {"step": torch.tensor(3)}}}, "epoch": 3},
        tmp_path / "c.pt",
    )
    opened = open_checkpoint(tmp_path / "c.pt")
    assert opened.format == "sam3 trainer"
    assert opened.beside == ("optimizer", "epoch")
    weights = fit(opened, shapes, lambda: base)
    assert_equal(weights, official)
    assert {part_of(name) for name in weights.own} == {
        "trunk",
        "concept neck",
        "text",
        "exemplars",
        "concepts",
        "concept masks",
    }
    assert {part_of(name) for name in weights.inherited} - {"video"} == {"click neck", "clicks"}
    assert_equal(weights, {name: value + 1 for name, value in official.items()}, weights.inherited)
    assert f"{len(weights.inherited)} of the base (click neck, clicks" in str(weights)


def test_a_fine_tune_of_the_whole_model_needs_no_base(
    official: State, shapes: Shapes, tmp_path: Path
) -> None:
    state = {
        name.replace("detector.", "", 1)
        if name.startswith("detector.")
        else name.replace("tracker.", "inst_interactive_predictor.model.", 1): value
        for name, value in official.items()
    }
    torch.save({"model": state}, tmp_path / "checkpoint.pt")
    weights = fit(open_checkpoint(tmp_path / "checkpoint.pt"), shapes)
    assert weights.inherited == ()
    assert_equal(weights, official)


def test_a_fine_tune_without_a_base_names_what_it_lacks(
    official: State, shapes: Shapes, tmp_path: Path
) -> None:
    torch.save({"model": trained(official)}, tmp_path / "checkpoint.pt")
    with pytest.raises(WrongCheckpoint, match=r"lacks \d+ .*\(click neck, clicks\).* name the base"):
        fit(open_checkpoint(tmp_path / "checkpoint.pt"), shapes)


def test_a_base_that_nobody_chose_gives_whole_parts_only(
    official: State, shapes: Shapes, base: Checkpoint, tmp_path: Path
) -> None:
    """A file that lacks one weight of the decoder is more likely broken than meant."""
    state = trained(official)
    torch.save({"model": state}, tmp_path / "whole.pt")
    assert fit(open_checkpoint(tmp_path / "whole.pt"), shapes, lambda: base, whole_parts=True).inherited
    del state["transformer.decoder.query_embed.weight"]
    torch.save({"model": state}, tmp_path / "torn.pt")
    torn = open_checkpoint(tmp_path / "torn.pt")
    with pytest.raises(WrongCheckpoint, match=r"lacks 1 .*query_embed.* \(SAM3_BASE_CHECKPOINT\)"):
        fit(torn, shapes, lambda: base, whole_parts=True)
    assert "detector.transformer.decoder.query_embed.weight" in fit(torn, shapes, lambda: base).inherited


def test_a_base_that_is_itself_incomplete_is_refused(official: State, shapes: Shapes, tmp_path: Path) -> None:
    torch.save({"model": trained(official)}, tmp_path / "checkpoint.pt")
    opened = open_checkpoint(tmp_path / "checkpoint.pt")
    with pytest.raises(WrongCheckpoint, match="Neither does the base"):
        fit(opened, shapes, lambda: opened)


def test_names_of_which_none_fits_are_refused_although_there_is_a_base(
    shapes: Shapes, base: Checkpoint, tmp_path: Path
) -> None:
    torch.save({"transformer.of.another.kind": torch.ones(3)}, tmp_path / "checkpoint.pt")
    with pytest.raises(WrongCheckpoint, match=r"nothing in .* fits the model"):
        fit(open_checkpoint(tmp_path / "checkpoint.pt"), shapes, lambda: base)


def detr(official: State) -> State:
    """The weights of DETR: its transformer has names and shapes of SAM 3's, its backbone and heads have not."""
    names = ("self_attn.", "linear1.", "linear2.", "norm1.", "norm2.")
    own = {
        name.removeprefix("detector."): value
        for name, value in official.items()
        if "transformer.encoder.layers." in name or "transformer.decoder.layers." in name
        if name.split(".", 5)[5].startswith(names)
    }
    heads = ("class_embed.weight", "bbox_embed.layers.0.weight", "query_embed.weight", "input_proj.weight")
    return own | dict.fromkeys(heads, torch.zeros(3, 3))


def test_another_models_file_is_no_fine_tune_although_names_and_shapes_of_some_tensors_fit(
    official: State, shapes: Shapes, base: Checkpoint, tmp_path: Path
) -> None:
    state = detr(official)
    torch.save({"model": state}, tmp_path / "detr.pth")
    with pytest.raises(WrongCheckpoint, match="a checkpoint of DETR"):
        open_checkpoint(tmp_path / "detr.pth")
    del state["class_embed.weight"]
    own = sum(name.startswith("transformer.") for name in state)
    state |= {f"backbone.0.body.layer{number}.conv.weight": torch.zeros(3) for number in range(own)}
    torch.save({"model": state}, tmp_path / "other.pth")
    with pytest.raises(
        WrongCheckpoint, match=rf"another model: SAM 3 has {own} of its tensors, and lacks {own + 3}"
    ):
        fit(open_checkpoint(tmp_path / "other.pth"), shapes, lambda: base)


def test_weights_that_no_request_uses_make_no_fine_tune(
    official: State, shapes: Shapes, base: Checkpoint, tmp_path: Path
) -> None:
    unused = {name: value for name, value in official.items() if not used(name)}
    torch.save({"model": unused}, tmp_path / "checkpoint.pt")
    with pytest.raises(WrongCheckpoint, match=r"nothing in .* fits the model"):
        fit(open_checkpoint(tmp_path / "checkpoint.pt"), shapes, lambda: base)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_weight_that_is_no_number_is_named(
    official: State, tmp_path: Path, wrong: float, dtype: torch.dtype
) -> None:
    name = "detector.transformer.decoder.presence_token_head.layers.1.weight"
    state = {key: value.to(dtype) for key, value in official.items()}
    state[name] = state[name].clone()
    state[name][3, 5] = wrong
    torch.save({"model": state}, tmp_path / "sam3.pt")
    with pytest.raises(WrongCheckpoint, match=rf"{re.escape(name)} holds NaN or infinity, 1 of 4,096 values"):
        Engine.load("tiny", checkpoint=str(tmp_path / "sam3.pt"), device="cpu")
    Engine.load("tiny", role="encoder", checkpoint=str(tmp_path / "sam3.pt"), device="cpu")
    found = inspect(tmp_path / "sam3.pt")
    assert not found.loads
    assert found.error is not None
    assert name in found.error


def test_large_values_are_numbers() -> None:
    """Their sum is none in float32."""
    assert unusable("a", torch.full((10,), 3e38)) is None
    assert unusable("a", torch.tensor([1, 2])) is None


def test_other_shapes_are_named(official: State, shapes: Shapes, tmp_path: Path) -> None:
    name = "detector.transformer.decoder.query_embed.weight"
    torch.save(official | {name: torch.zeros(200, 64)}, tmp_path / "sam3.pt")
    with pytest.raises(WrongCheckpoint, match=r"query_embed.weight is \[200, 64\] instead of \[25, 64\]"):
        fit(open_checkpoint(tmp_path / "sam3.pt"), shapes)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantised_weights_are_refused(
    official: State, shapes: Shapes, tmp_path: Path, dtype: torch.dtype
) -> None:
    name = "detector.dot_prod_scoring.hs_proj.weight"
    save_file(official | {name: official[name].to(dtype)}, tmp_path / "q.safetensors")
    with pytest.raises(WrongCheckpoint, match=r"is quantised .*hs_proj"):
        fit(open_checkpoint(tmp_path / "q.safetensors"), shapes)


def test_superfluous_names_are_told(official: State, shapes: Shapes, tmp_path: Path) -> None:
    torch.save(
        official | {"detector.extra": torch.ones(1), "criterion.weight": torch.ones(1)}, tmp_path / "sam3.pt"
    )
    assert set(fit(open_checkpoint(tmp_path / "sam3.pt"), shapes).superfluous) == {
        "detector.extra",
        "criterion.weight",
    }


def test_harmless_things_beside_the_weights_are_ignored(
    official: State, shapes: Shapes, tmp_path: Path
) -> None:
    """Training programs save their arguments and best scores."""
    beside = {
        "args": argparse.Namespace(lr=1),
        "best_meter_values": {"AP": np.float64(0.5)},
        "n": np.int64(3),
    }
    torch.save({"model": official} | beside, tmp_path / "checkpoint.pt")
    opened = open_checkpoint(tmp_path / "checkpoint.pt")
    assert set(opened.beside) == set(beside)
    assert_equal(fit(opened, shapes), official)


def test_values_are_read_only_when_they_are_needed(official: State, shapes: Shapes, tmp_path: Path) -> None:
    path = tmp_path / "sam3.safetensors"
    save_file(official, path)
    weights = fit(open_checkpoint(path), shapes)
    name = "detector.dot_prod_scoring.hs_proj.bias"
    content = path.read_bytes()
    value = official[name].numpy().tobytes()
    assert content.count(value) == 1
    with path.open("r+b") as file:
        file.seek(content.index(value))
        file.write(bytes(len(value)))
    assert (weights.tensors[name].read() == 0).all()
