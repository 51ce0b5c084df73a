"""Inspects a checkpoint: its format, its contents, and whether it would load."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from xxhash import xxh3_64

from sam3_engine.checkpoint_files.checkpoint import Checkpoint, open_checkpoint
from sam3_engine.checkpoint_files.fitting import Weights, fit
from sam3_engine.checkpoint_files.folders import sha256_of
from sam3_engine.checkpoint_files.names import PARTS, part_of, used
from sam3_engine.checkpoint_files.shapes import fitting, model_shapes
from sam3_engine.checkpoint_files.tensors import FileTensor, Tensors, unusable
from sam3_engine.errors import WrongCheckpoint
from sam3_engine.spec import SPECS, ModelSpec


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the model as a file has it. digest: of the values as float32, so that one set of weights has one digest
    in every format; None where it is not computed."""

    tensors: int
    parameters: int
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """The findings about a checkpoint.

    format, container: None for a file that is none; `error` then says what it is. model: the size that it fits.
    sha256: of each file, as the Hub shows it. inherited, missing: names that the base gives, and that nothing gives.
    superfluous: names that no model wants; names of weights for video are only counted.
    """

    path: str
    format: str | None = None
    container: str | None = None
    model: str | None = None
    bytes: int = 0
    sha256: dict[str, str] = field(default_factory=dict)
    dtypes: dict[str, int] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    inherited: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    superfluous: list[str] = field(default_factory=list)
    video: int = 0
    beside: list[str] = field(default_factory=list)
    loads: bool = False
    error: str | None = None

    def document(self) -> dict[str, Any]:
        """The same as JSON's types."""
        return asdict(self)


def inspect(path: Path, base: Path | None = None, *, digests: bool = True) -> Inspection:
    """Inspect a checkpoint's file.

    base: the weights that a fine-tune or an adapter is laid over. None: official ones are assumed, which have every
    weight. digests: read all values too, which takes seconds for the full size. Raises CheckpointError for a file, or a
    base, that cannot be opened.
    """
    try:
        opened = open_checkpoint(path)
    except WrongCheckpoint as error:
        size = path.stat().st_size
        return Inspection(str(path), bytes=size, sha256=_files((path,)) if digests else {}, error=str(error))
    below = open_checkpoint(base) if base else None
    spec, weights, reason = _fitted(opened, below)
    given = opened.tensors
    if opened.adapter is not None:
        factors = opened.adapter.factors.items()
        given = {f"{module}.{name}": one for module, found in factors for name, one in found.items()}
        given |= opened.adapter.whole
    shapes = model_shapes(spec)
    missing = [name for name in shapes if used(name) and name not in given] if weights is None else []
    if reason is None and digests:  # which read all values anyway
        odd = (unusable(name, one.read()) for name, one in given.items())
        reason = next((why for why in odd if why is not None), None)
    return Inspection(
        str(path),
        opened.format,
        opened.container,
        spec.name,
        sum(one.stat().st_size for one in opened.paths),
        _files(opened.paths) if digests else {},
        dict(Counter(str(one.dtype).removeprefix("torch.") for one in given.values())),
        _parts(opened.tensors, digests),
        list(weights.inherited) if weights else [],
        missing if opened.adapter is None else [],
        list(weights.superfluous) if weights else list(opened.unknown),
        len(opened.video),
        list(opened.beside),
        reason is None,
        reason,
    )


def _fitted(opened: Checkpoint, below: Checkpoint | None) -> tuple[ModelSpec, Weights | None, str | None]:
    """The model whose sizes fit best, its weights, and why they do not fit."""
    errors = {}
    for spec in SPECS.values():
        shapes = model_shapes(spec)
        try:
            below_it = lambda shapes=shapes: below or _official(shapes)  # noqa: E731
            return spec, fit(opened, shapes, below_it, whole_parts=below is None), None
        except WrongCheckpoint as error:
            errors[spec] = (fitting(opened, shapes), str(error))
    best = max(errors, key=lambda spec: errors[spec][0])
    return best, None, errors[best][1]


def _official(shapes: Any) -> Checkpoint:
    """A stand-in for the weights that a fine-tune is laid over: everything is there, and nothing is read."""
    return Checkpoint(
        (Path(),), "assumed", "", {name: FileTensor.zeros(shape) for name, shape in shapes.items()}
    )


def _files(paths: tuple[Path, ...]) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in paths}


def _parts(tensors: Tensors, digests: bool) -> dict[str, Part]:
    grouped: dict[str, list[str]] = {}
    for name in sorted(tensors):
        grouped.setdefault(part_of(name), []).append(name)
    return {
        part: Part(
            len(grouped[part]),
            sum(torch.Size(tensors[name].shape).numel() for name in grouped[part]),
            part_digest(tensors, grouped[part]) if digests else None,
        )
        for part in (*PARTS, "other")
        if part in grouped
    }


def part_digest(tensors: Tensors, names: list[str]) -> str:
    """16 hex digits of the names and values, as float32. Not cryptographic."""
    digest = xxh3_64()
    for name in sorted(names):
        value = tensors[name].read().detach()
        value = value.float() if value.is_floating_point() else value
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
