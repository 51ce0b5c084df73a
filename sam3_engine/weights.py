"""Official checkpoints: reads the file, renames its keys to the model's, and copies its tensors into the
model."""

import pickle
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import torch
from torch import nn
from xxhash import xxh3_64

from sam3_engine.errors import CheckpointError, WrongCheckpoint

State = dict[str, torch.Tensor]

PREFIXES = {"detector.": "", "tracker.": "inst_interactive_predictor.model."}
"""Prefixes of the file's keys and of `Sam3Image`'s, as in `sam3.model_builder._load_checkpoint`."""

COMPUTED = ("freqs_cis", "freqs_cos", "freqs_sin", "relative_coords")
"""Buffers that the model computes when it is built: a checkpoint may leave them out."""

SHOWN = 4
"""Keys named in an error."""


def load_state(path: str | PathLike[str]) -> State:
    """Read a PyTorch checkpoint: tensors by name, on the CPU, mapped from the file where its layout allows.

    Only tensors are unpickled: a file with code in it is refused. A state dict under the key "model" is
    unwrapped, as the package does. Raises CheckpointError for a file that cannot be opened, WrongCheckpoint
    for a file that is no checkpoint.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(64)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    except pickle.UnpicklingError as error:
        if head.startswith(b"version https://git-lfs"):
            raise WrongCheckpoint(f"{path} is a Git LFS pointer, not the file: run `git lfs pull`") from None
        raise WrongCheckpoint(
            f"{path} is no checkpoint, or holds more than tensors: {_first_line(error)}"
        ) from error
    except Exception as error:  # a broken file makes the reader raise anything
        raise WrongCheckpoint(f"{path} is no checkpoint, or not all of it: {_first_line(error)}") from error
    return _tensors(content, path)


def _tensors(content: object, path: Path) -> State:
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not content:
        raise WrongCheckpoint(f"{path} holds no tensors by name (but a {type(content).__name__})")
    others = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise WrongCheckpoint(f"{path} holds things that are no tensors: {_some(others)}")
    return dict(content)


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
    not have. Arguments and errors as of `matching`."""
    given = model_keys(state)
    known = matching(model, given)
    model.load_state_dict(known, strict=False)
    return [key for key in given if key not in known]


def matching(model: nn.Module, state: Mapping[str, torch.Tensor]) -> State:
    """The tensors of a checkpoint that the model has, under the model's names.

    state: with the names of the file or of the model. Superfluous keys are allowed (the official file serves
    video too). Raises WrongCheckpoint when keys are missing or shapes differ.
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
    return known


def weights_digest(state: Mapping[str, torch.Tensor]) -> str:
    """16 hex digits that differ between checkpoints: a digest of every byte of every tensor.

    state: with the names of the file or of the model, as it was read: processes that each use a part of it, on
    whatever device and in whatever dtype, then agree. Buffers that the model computes when it is built do not count.
    Not cryptographic: it takes a second for the official model's 3.4 GB.
    """
    digest = xxh3_64()
    for name, tensor in sorted(model_keys(state).items()):
        if not name.endswith(COMPUTED):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
