"""A first look at a checkpoint's files: what their first bytes and sizes tell. Needs no torch, and reads no weights."""

from pathlib import Path

from sam3_engine.checkpoint_files.folders import shards
from sam3_engine.checkpoint_files.strangers import by_bytes, some
from sam3_engine.errors import CheckpointError, WrongCheckpoint


def first_look(path: Path) -> None:
    """Look at a checkpoint's file; at all of them, where it is the index of several.

    Raises CheckpointError for a file that cannot be read, WrongCheckpoint for one that is no checkpoint, or only a part
    of one; the message names the kind of file.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # neither torch nor safetensors opens it, and neither says so
        raise CheckpointError(f"{path} cannot be read: its path holds bytes that are no UTF-8") from error
    try:
        names = shards(path)
        absent = [name for name in names if not (path.parent / name).is_file()]
        if absent:
            raise WrongCheckpoint(
                f"{path} names {len(names)} files, and these are not beside it: {some(absent)}"
            )
        files = [path.parent / name for name in names] if path.name.endswith(".index.json") else [path]
        for file in files:
            if other := by_bytes(file):
                raise WrongCheckpoint(f"{file} is {other}")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
