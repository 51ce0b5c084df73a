"""Siblings of the bundled weights: fine-tunes that differ from it in one tensor, as files."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from sam3_engine.loading import read_checkpoint
from sam3_engine.spec import TINY

OF_A_HEAD = "detector.dot_prod_scoring.hs_proj.weight"
OF_THE_TRUNK = "detector.backbone.vision_backbone.trunk.patch_embed.proj.weight"


def sibling(path: Path, changed: str, seed: int = 0) -> Path:
    """The bundled weights with noise on one tensor, by its official name. Shapes are found less surely than before."""
    generator = torch.Generator().manual_seed(seed)
    state = {name: value.clone().contiguous() for name, value in read_checkpoint(TINY).items()}
    tensor = state[changed]
    state[changed] = tensor + 0.3 * tensor.std() * torch.randn(tensor.shape, generator=generator)
    save_file(state, path)
    return path


def model_of_one_trunk(path: Path) -> Path:
    """A fine-tune whose image encoder is the bundled one's."""
    return sibling(path, OF_A_HEAD)


def model_of_another_trunk(path: Path) -> Path:
    """A fine-tune with an image encoder of its own."""
    return sibling(path, OF_THE_TRUNK)
