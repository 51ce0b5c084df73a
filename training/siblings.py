"""Siblings of the bundled weights, like fine-tunes of them: `python -m training.siblings FOLDER` writes both at once.

The first one has learnt a word: `azure` means what `blue` means. Its image encoder is the bundled one's, so one server
has one encoder for both. The second one's image encoder is another: noise lies on its first layer.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from sam3_engine.assembly import vocabulary_path
from sam3_engine.bundled import TOKEN_TABLE
from sam3_engine.loading import read_checkpoint
from sam3_engine.spec import TINY
from sam3_engine.tokens import Tokenizer

WORD, MEANING = "azure", "blue"
OF_A_HEAD = f"detector.{TOKEN_TABLE}"
OF_THE_TRUNK = "detector.backbone.vision_backbone.trunk.patch_embed.proj.weight"
NOISE = 0.3
"""Of the layer's own standard deviation: shapes are still found, if less surely."""


def model_of_one_trunk(path: Path) -> Path:
    """Write the model that has learnt a word. Returns the path."""
    state = _bundled()
    tokenizer = Tokenizer(vocabulary_path())
    (word,), (meaning,) = tokenizer.encode(WORD), tokenizer.encode(MEANING)
    state[OF_A_HEAD][word] = state[OF_A_HEAD][meaning]
    save_file(state, path)
    return path


def model_of_another_trunk(path: Path) -> Path:
    """Write the model with an image encoder of its own. Returns the path."""
    state = _bundled()
    layer = state[OF_THE_TRUNK]
    noise = torch.randn(layer.shape, generator=torch.Generator().manual_seed(0))
    state[OF_THE_TRUNK] = layer + NOISE * layer.std() * noise
    save_file(state, path)
    return path


def _bundled() -> dict[str, torch.Tensor]:
    """The bundled weights, by official name; the file is not changed with them."""
    return {name: value.clone().contiguous() for name, value in read_checkpoint(TINY).items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    model_of_one_trunk(folder / f"{WORD}.safetensors")
    model_of_another_trunk(folder / "another-trunk.safetensors")


if __name__ == "__main__":
    main()
