"""Weights of the tiny model under official names, and files of every format that are made from them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.transformers_video import configuration
from sam3_engine.bundled import BUNDLED_TINY
from sam3_engine.checkpoint_files.checkpoint import Checkpoint, open_checkpoint
from sam3_engine.checkpoint_files.fitting import Shapes
from sam3_engine.checkpoint_files.shapes import model_shapes
from sam3_engine.spec import TINY
from tests.unit.sam3_engine.checkpoint_files.states import State


@pytest.fixture(scope="session")
def shapes() -> Shapes:
    return model_shapes(TINY)


@pytest.fixture(scope="session")
def bundled() -> Checkpoint:
    return open_checkpoint(BUNDLED_TINY)


@pytest.fixture(scope="session")
def official(bundled: Checkpoint, shapes: Shapes) -> State:
    """The bundled weights under the names of `sam3.pt`, those for video included."""
    generator = torch.Generator().manual_seed(3)
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return state | {name: tensor.read() for name, tensor in bundled.tensors.items()}


@pytest.fixture
def base(official: State, tmp_path: Path) -> Checkpoint:
    """Another checkpoint of the whole model: each value is one more."""
    torch.save({"model": {name: value + 1 for name, value in official.items()}}, tmp_path / "base.pt")
    return open_checkpoint(tmp_path / "base.pt")


@pytest.fixture(scope="session")
def theirs() -> Any:
    """transformers' model for images, clicks and video, with random weights, none of which is zero or one."""
    from transformers import Sam3VideoModel

    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = Sam3VideoModel(configuration()).eval()
        for name, value in model.named_parameters():
            spread = 0.02 if "embed" in name else 0.05
            value.data = (
                1.0 if "norm" in name and name.endswith("weight") else 0.0
            ) + spread * torch.randn_like(value)
        clicks = model.tracker_model
        # Meta's model has one matrix for points and for images, of which transformers' files keep two copies.
        positions = clicks.shared_image_embedding.positional_embedding
        clicks.prompt_encoder.shared_embedding.positional_embedding.copy_(positions)
        # Where it sees no object, transformers gives no mask. For still images the package gives one all the same.
        torch.nn.init.ones_(clicks.mask_decoder.pred_obj_score_head.proj_out.bias)
    return model
