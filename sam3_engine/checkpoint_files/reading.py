"""Opens files of PyTorch and of safetensors. Nothing in a file is ever run: only tensors are read."""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from sam3_engine.checkpoint_files.first_look import first_look
from sam3_engine.checkpoint_files.folders import read_json, shards
from sam3_engine.checkpoint_files.strangers import looks_like_safetensors, shown, some
from sam3_engine.checkpoint_files.tensors import FileTensor, Tensors
from sam3_engine.errors import CheckpointError, WrongCheckpoint

CONTAINERS = ("model", "state_dict", "model_state_dict")
"""Keys below which training programs put the model's tensors, beside the optimiser's."""

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Names of number formats in safetensors."""


class Ignored:
    """Stands for a harmless thing that training programs store beside the tensors. It keeps nothing."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


HARMLESS = tuple(
    (Ignored, name)
    for name in (
        "argparse.Namespace",
        "numpy.dtype",
        *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
        *(f"numpy.dtypes.{kind}DType" for kind in ("Float64", "Float32", "Int64", "Int32", "Bool")),
    )
)
"""Names that a pickle may mention: `Ignored` is put in their place, so that none of them is called."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a checkpoint's file, or of the several files of one checkpoint.

    container: "PyTorch" or "safetensors". beside: names of things that are no weights of the model.
    """

    paths: tuple[Path, ...]
    container: str
    tensors: Tensors
    beside: tuple[str, ...] = field(default=())


def read_file(path: Path) -> Contents:
    """The tensors of one file, or of all files that an index (`*.safetensors.index.json`) names.

    Raises CheckpointError for a file that cannot be opened, WrongCheckpoint for one that is no checkpoint; the
    message names the kind of file.
    """
    try:
        first_look(path)
        if path.name.endswith(".index.json"):
            return _sharded(path)
        with path.open("rb") as file:
            head = file.read(9)
        return _safetensors(path) if looks_like_safetensors(head) else _pytorch(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _safetensors(path: Path) -> Contents:
    try:
        file = safe_open(path, framework="pt")
        tensors = {}
        for name in file.keys():  # noqa: SIM118 (no mapping)
            one = file.get_slice(name)
            dtype = DTYPES.get(one.get_dtype())
            if dtype is None:
                raise WrongCheckpoint(
                    f"{path} holds numbers in the format {one.get_dtype()}, which is not read here"
                )
            read = lambda name=name: file.get_tensor(name)  # noqa: E731
            tensors[name] = FileTensor(tuple(one.get_shape()), dtype, read)
    except SafetensorError as error:
        raise WrongCheckpoint(f"{path} is no safetensors file, or not all of it: {error}") from error
    return Contents((path,), "safetensors", tensors)


def _sharded(index: Path) -> Contents:
    names = shards(index)
    parts = [read_file(index.parent / name) for name in names]
    tensors = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    missing = sorted(set(read_json(index)["weight_map"]) - set(tensors))
    if missing:
        raise WrongCheckpoint(f"{index} names tensors that its files do not have: {some(missing)}")
    paths = tuple(path for part in parts for path in part.paths)
    return Contents((index, *paths), "safetensors", tensors)


def _pytorch(path: Path) -> Contents:
    try:
        with torch.serialization.safe_globals(list(HARMLESS)), warnings.catch_warnings():
            # torch's advice is for files of other programs; the error below is ours.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise WrongCheckpoint(_unpickled(path, str(error))) from error
    except OSError:
        raise
    except Exception as error:  # a broken file makes the reader raise anything
        raise WrongCheckpoint(
            f"{path} is no checkpoint, or not all of it: {_first_line(str(error))}"
        ) from error
    if not isinstance(content, Mapping):
        raise WrongCheckpoint(f"{path} holds no tensors by name (but a {type(content).__name__})")
    beside: list[str] = []
    for container in CONTAINERS:
        if isinstance(content.get(container), Mapping):
            beside = [str(key) for key in content if key != container]
            content = content[container]
            break
    tensors = {
        str(key): FileTensor.of(value) for key, value in content.items() if isinstance(value, torch.Tensor)
    }
    if not tensors:
        raise WrongCheckpoint(
            f"{path} holds no tensors by name (but {some([str(key) for key in content]) or 'nothing'})"
        )
    beside += [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    return Contents((path,), "PyTorch", tensors, tuple(beside))


def _unpickled(path: Path, message: str) -> str:
    if "ultralytics" in message:
        return f"{path} is a checkpoint of Ultralytics (YOLO), which holds code; it is not SAM 3's"
    if "GLOBAL" in message:
        named = message.split("GLOBAL ", 1)[-1].split(" ", 1)[0]
        return (
            f"{path} holds more than tensors ({shown(named)}), and code in a file is never run. Where you trust it, "
            'save its weights alone: torch.save({"model": model.state_dict()}, "weights.pt")'
        )
    # torch's own words advise to load it all the same, and to run what it holds.
    return f"{path} is no checkpoint, or holds more than tensors, and code in a file is never run"


def _first_line(message: str) -> str:
    return (message.splitlines() or ["it cannot be read"])[0]
