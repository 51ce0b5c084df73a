"""Opens a checkpoint of any format: recognises the format, and gives the tensors by their official names."""

from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path

import torch

from sam3_engine.bundled import ROWS, load_bundled
from sam3_engine.checkpoint_files import names as official
from sam3_engine.checkpoint_files import transformers_names as hf
from sam3_engine.checkpoint_files.adapters import Adapter, is_adapter, read_adapter
from sam3_engine.checkpoint_files.folders import read_json
from sam3_engine.checkpoint_files.reading import Contents, read_file
from sam3_engine.checkpoint_files.strangers import by_names, some
from sam3_engine.checkpoint_files.tensors import FileTensor, Tensors, stacked
from sam3_engine.errors import WrongCheckpoint

MODEL_TYPES = ("sam3", "sam3_video")
"""`model_type` in the `config.json` of transformers, for models that fit."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened checkpoint.

    paths: its files; the first was asked for. format: its name in docs/weights.md. tensors: by official name; empty
    for an adapter. video: names of weights for video that are not loaded. unknown: names that SAM 3 does not have.
    beside: things in the file that are no weights, such as an optimiser's state.
    """

    paths: tuple[Path, ...]
    format: str
    container: str
    tensors: Tensors
    video: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    adapter: Adapter | None = field(default=None)

    @property
    def path(self) -> Path:
        """The file that was asked for."""
        return self.paths[0]


def open_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Open a checkpoint's file (of a sharded one: the index). Tensors are read later, one by one.

    Raises CheckpointError for a file that cannot be opened, WrongCheckpoint for one that is no checkpoint of SAM 3; the
    message names the kind of file.
    """
    contents = read_file(Path(path))
    if ROWS in contents.tensors:
        return _bundled(contents)
    if is_adapter(contents.tensors):
        adapter = read_adapter(contents.paths[0], contents.tensors)
        kind = "DoRA" if adapter.config.get("use_dora") else "LoRA"
        return Checkpoint(contents.paths, f"peft {kind} adapter", contents.container, {}, adapter=adapter)
    if hf.is_transformers(contents.tensors):
        opened = _transformers(contents)
    elif (other := by_names(tuple(contents.tensors))) is not None:  # some names may be SAM 3's all the same
        raise WrongCheckpoint(f"{contents.paths[0]} is {other}")
    else:
        opened = _package(contents)
    if not opened.tensors:
        raise WrongCheckpoint(
            f"{opened.path} is no checkpoint of SAM 3: it holds {some(tuple(contents.tensors))}"
        )
    return opened


def _bundled(contents: Contents) -> Checkpoint:
    state = load_bundled(contents.paths[0])
    tensors = {official.official_name(key): FileTensor.of(value) for key, value in state.items()}
    return Checkpoint(contents.paths, "sam3-serve bundled", contents.container, tensors)


def _package(contents: Contents) -> Checkpoint:
    multiplex = official.is_multiplex(contents.tensors)
    tensors: Tensors = {}
    video: list[str] = []
    unknown: list[str] = []
    for name, tensor in contents.tensors.items():
        known = official.from_package(name, multiplex)
        if known is None:
            (video if official.only_for_video(name, multiplex) else unknown).append(name)
        else:
            tensors[known] = tensor
    plain = all(name in tensors for name in contents.tensors)
    complete = any(official.part_of(name) == "clicks" for name in tensors)
    kind = "sam3.1 multiplex" if multiplex else "sam3" if plain and complete else "sam3 trainer"
    return Checkpoint(
        contents.paths, kind, contents.container, tensors, tuple(video), tuple(unknown), contents.beside
    )


def _row(row: int, value: torch.Tensor) -> torch.Tensor:
    return value[row : row + 1]


def _transformers(contents: Contents) -> Checkpoint:
    _check_config(contents.paths[0])
    parts: dict[str, dict[int, FileTensor]] = {}
    counts: dict[str, int] = {}
    tensors: Tensors = {}
    video: list[str] = []
    unknown: list[str] = []
    for name, tensor in contents.tensors.items():
        where = hf.place(name)
        if where is None:
            (video if hf.only_for_video(name) else unknown).append(name)
        elif "*" in where.name:
            for row in range(tensor.shape[0]):
                tensors[where.name.replace("*", str(row))] = tensor.changed(partial(_row, row))
        else:
            parts.setdefault(where.name, {})[where.part] = tensor
            counts[where.name] = where.parts
    for name, found in parts.items():
        lacking = [f"{hf.QKV[part]}_proj" for part in range(counts[name]) if part not in found]
        if lacking:
            raise WrongCheckpoint(f"{contents.paths[0]} lacks {some(lacking)} of {name}")
        whole = stacked([found[part] for part in range(counts[name])]) if counts[name] > 1 else found[0]
        tensors[name] = _restored(name, whole)
    return Checkpoint(
        contents.paths,
        "transformers",
        contents.container,
        tensors,
        tuple(video),
        tuple(unknown),
        contents.beside,
    )


def _restored(name: str, tensor: FileTensor) -> FileTensor:
    if name == hf.TRANSPOSED:
        return tensor.changed(lambda value: value.T)
    if name == hf.POSITIONS:  # the class token's row, which the trunk never uses
        return tensor.changed(lambda value: torch.cat([torch.zeros_like(value[:, :1]), value], dim=1))
    return tensor


def _check_config(path: Path) -> None:
    """Raises WrongCheckpoint when the `config.json` beside the file is that of another model of transformers."""
    try:
        config = read_json(path.parent / "config.json")
        kind = config.get("model_type")
    except (OSError, ValueError, AttributeError):
        return  # the names and shapes decide
    if kind not in (None, *MODEL_TYPES):
        raise WrongCheckpoint(f"{path} is transformers' {kind} model, not its sam3 or sam3_video")
