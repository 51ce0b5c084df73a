"""Writes a checkpoint in the official file's layout, of full size and with random weights: 3.4 GB.

    python -m scripts.random_checkpoint /somewhere/sam3.pt
    SAM3_MODEL=sam3 SAM3_CHECKPOINT=/somewhere/sam3.pt sam3-serve up

Its answers mean nothing. It shows the cost of the full-size model to people who may not have the real weights.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch

from sam3_engine.assembly import build_model
from sam3_engine.roles import TRACKER
from sam3_engine.spec import SAM3, ModelSpec


def official_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model's tensors under the names of the official file."""
    tracker = f"{TRACKER}."
    return {
        f"tracker.{key.removeprefix(tracker)}" if key.startswith(tracker) else f"detector.{key}": value
        for key, value in state.items()
    }


def write(path: Path, spec: ModelSpec = SAM3, seed: int = 0) -> None:
    """Write the checkpoint; the same seed gives the same weights. The file appears when it is whole."""
    torch.manual_seed(seed)
    state = official_names(build_model(spec, video=True).state_dict())
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    torch.save(state, unfinished)
    unfinished.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write(args.path, seed=args.seed)


if __name__ == "__main__":
    main()
