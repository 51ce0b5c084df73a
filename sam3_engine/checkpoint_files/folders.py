"""Finds the checkpoint in a folder, or in the list of a repository's files."""

import hashlib
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sam3_engine.checkpoint_files.strangers import some
from sam3_engine.errors import WrongCheckpoint

PREFERRED = (
    "sam3.pt",
    "sam3.1_multiplex.pt",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "model.safetensors",
    "model.safetensors.index.json",
)
"""Names that checkpoints usually have; the first that is there is taken."""
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
SHARD = re.compile(r"-\d{5}-of-\d{5}\.")
ENDINGS = (".safetensors", ".pt", ".pth", ".bin")


def checkpoint_in(names: Collection[str]) -> str | None:
    """The file to open among a folder's names: one with a usual name, or else the only one with a usual ending; none
    where an adapter lies beside another model, which may be its base."""
    models = [name for name in PREFERRED if name in names]
    if any(name in ADAPTERS for name in models) and not all(name in ADAPTERS for name in models):
        return None
    if models:
        return models[0]
    others = [name for name in names if name.endswith(ENDINGS) and "/" not in name]
    return others[0] if len(others) == 1 else None


def why_none(names: Collection[str]) -> str:
    """The end of a sentence about names among which no checkpoint was found."""
    several = sorted(name for name in names if name.endswith(ENDINGS))
    if several and all(SHARD.search(name) for name in several):
        return f"it has shards ({some(several)}), and not their index, such as model.safetensors.index.json"
    if several:
        return f"it has several files that may be one ({some(several)}): name one of them"
    return f"it has none of {', '.join(PREFERRED)}"


def beside(name: str) -> tuple[str, ...]:
    """Files that belong to a checkpoint's file and are read with it."""
    folder = name.rpartition("/")[0]
    prefix = f"{folder}/" if folder else ""
    if name.rpartition("/")[2].startswith("adapter_model."):
        return (f"{prefix}adapter_config.json",)
    return (f"{prefix}config.json",) if name.endswith((".safetensors", ".index.json")) else ()


def sha256_of(path: Path) -> str:
    """The digest of a file, as the Hub shows it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """A JSON file of somebody else. Raises OSError, and ValueError where it is no JSON or nested too deep."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def shards(index: Path) -> list[str]:
    """The files that the index of a sharded checkpoint names; none for a file that is no index.

    Raises OSError, and WrongCheckpoint for an index that is broken, or that names files in other folders or other
    indexes: it comes from somebody else.
    """
    if not index.name.endswith(".index.json"):
        return []
    try:
        names = sorted({str(name) for name in read_json(index)["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WrongCheckpoint(f"{index} is no index of a sharded checkpoint") from error
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise WrongCheckpoint(f"{index} names files in other folders: {some(outside)}")
    indexes = [name for name in names if not name.endswith(ENDINGS)]
    if indexes:
        raise WrongCheckpoint(f"{index} names files that hold no tensors: {some(indexes)}")
    return names
