"""Weights in memory: renames a state dict's keys to the model's, copies its tensors into the model, and digests them.
Files are read by `sam3_engine.checkpoint_files`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from xxhash import xxh3_64

from sam3_engine.errors import WrongCheckpoint
from sam3_engine.roles import ENCODER_PARTS, VIDEO_ONLY

State = dict[str, torch.Tensor]

PREFIXES = {"detector.": "", "tracker.": "inst_interactive_predictor.model."}
"""Prefixes of the file's keys and of `Sam3Image`'s, as in `sam3.model_builder._load_checkpoint`."""

COMPUTED = ("freqs_cis", "freqs_cos", "freqs_sin", "relative_coords")
"""Buffers that the model computes when it is built: a checkpoint may leave them out."""

SHOWN = 4
"""Keys named in an error."""


class Renamed(Mapping[str, torch.Tensor]):
    """Tensors under other names, each taken from where it is when it is asked for."""

    def __init__(self, state: Mapping[str, torch.Tensor], names: Mapping[str, str]) -> None:
        """names: the names in `state` by the new ones."""
        self._state, self._names = state, names

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._state[self._names[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._names  # without taking it

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def model_keys(state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """The same tensors under the names of `Sam3Image`; a state dict that has these names already is returned
    unchanged."""
    if not any(key.startswith(tuple(PREFIXES)) for key in state):
        return state
    names = {
        new + key.removeprefix(old): key
        for old, new in PREFIXES.items()
        for key in state
        if key.startswith(old)
    }
    return Renamed(state, names)


def apply(model: nn.Module, state: Mapping[str, torch.Tensor]) -> list[str]:
    """Copy a checkpoint's tensors into the model, in the model's own dtype; returns the keys that the model does
    not have. Arguments and errors as of `matching`."""
    given = model_keys(state)
    known = matching(model, given)
    model.load_state_dict(known, strict=False)
    return [key for key in given if key not in known]


def matching(model: nn.Module, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
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
    known = Renamed(given, {key: key for key in given if key in wanted})
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


@dataclass(frozen=True, slots=True)
class Digests:
    """Digests of a checkpoint, of 16 hex digits each. encoder: of the parts that encode images. whole: of all weights
    that images need."""

    encoder: str
    whole: str


def digests(state: Mapping[str, torch.Tensor]) -> Digests:
    """Both digests of a checkpoint; each tensor is read once. Arguments as of `weights_digest`."""
    encoder, whole = xxh3_64(), xxh3_64()
    for name, data in _described(state, video=False):
        for part in data:
            whole.update(part)
            if _encodes(name):
                encoder.update(part)
    return Digests(encoder.hexdigest(), whole.hexdigest())


def encoder_digest(state: Mapping[str, torch.Tensor]) -> str:
    """`digests(state).encoder`; no other tensor is read."""
    named = model_keys(state)
    return digests(Renamed(named, {name: name for name in named if _encodes(name)})).encoder


def weights_digest(state: Mapping[str, torch.Tensor], *, video: bool = False) -> str:
    """16 hex digits that differ between checkpoints: a digest of every byte of every tensor that images need; with
    `video`, of every one that only video needs.

    state: with the names of the file or of the model, as it was read: processes that each use a part of it, on
    whatever device and in whatever dtype, then agree. Buffers that the model computes when it is built do not count.
    Not cryptographic: it takes a second for the official model's 3.4 GB.
    """
    digest = xxh3_64()
    for _, data in _described(state, video):
        for part in data:
            digest.update(part)
    return digest.hexdigest()


def _encodes(name: str) -> bool:
    return name.startswith(tuple(f"{part}." for part in ENCODER_PARTS)) or name in ENCODER_PARTS


def _described(
    state: Mapping[str, torch.Tensor], video: bool
) -> Iterator[tuple[str, tuple[bytes, memoryview]]]:
    """Each tensor's name by itself, and as the data that a digest is made of."""
    named = model_keys(state)
    for name in sorted(named):
        if not name.endswith(COMPUTED) and name.startswith(VIDEO_ONLY) is video:
            tensor = named[name]
            values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
            yield name, (f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), values)


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
