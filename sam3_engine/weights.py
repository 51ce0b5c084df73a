"""Weights in memory: renames a state dict's keys to the model's, copies its tensors into the model, and digests them.
Files are read by `sam3_engine.checkpoint_files`."""

from collections.abc import Mapping

import torch
from torch import nn
from xxhash import xxh3_64

from sam3_engine.errors import WrongCheckpoint

State = dict[str, torch.Tensor]

PREFIXES = {"detector.": "", "tracker.": "inst_interactive_predictor.model."}
"""Prefixes of the file's keys and of `Sam3Image`'s, as in `sam3.model_builder._load_checkpoint`."""

COMPUTED = ("freqs_cis", "freqs_cos", "freqs_sin", "relative_coords")
"""Buffers that the model computes when it is built: a checkpoint may leave them out."""

SHOWN = 4
"""Keys named in an error."""


def model_keys(state: Mapping[str, torch.Tensor]) -> State:
    """The same tensors under the names of `Sam3Image`; a state dict that has these names already is returned
    unchanged."""
    if not any(key.startswith(tuple(PREFIXES)) for key in state):
        return dict(state)
    return {
        new + key.removeprefix(old): value
        for old, new in PREFIXES.items()
        for key, value in state.items()
        if key.startswith(old)
    }


def apply(model: nn.Module, state: Mapping[str, torch.Tensor]) -> list[str]:
    """Copy a checkpoint's tensors into the model, in the model's own dtype; returns the keys that the model does
    not have.

    state: with the names of the file or of the model. Superfluous keys are allowed (the official file serves
    video too). Raises WrongCheckpoint, and leaves the model unchanged, when keys are missing or shapes differ.
    """
    given = model_keys(state)
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in given and not key.endswith(COMPUTED)]
    if missing:
        raise WrongCheckpoint(
            f"the checkpoint lacks {len(missing)} of the model's {len(wanted)} tensors: {_some(missing)}. "
            "Is it the file of another model?"
        )
    known = {key: value for key, value in given.items() if key in wanted}
    differing = [
        f"{key} is {list(value.shape)} instead of {list(wanted[key].shape)}"
        for key, value in known.items()
        if value.shape != wanted[key].shape
    ]
    if differing:
        raise WrongCheckpoint(
            f"{len(differing)} of the checkpoint's tensors have another shape: {_some(differing)}"
        )
    model.load_state_dict(known, strict=False)
    return [key for key in given if key not in wanted]


def weights_digest(model: nn.Module) -> str:
    """16 hex digits that differ between sets of weights: a digest of every byte of every tensor.

    Buffers that the model computes when it is built do not count. Call it before the model goes to its device, so that
    all devices give one digest. Not cryptographic: it takes a second for the official model's 3.4 GB.
    """
    digest = xxh3_64()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.endswith(COMPUTED):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
