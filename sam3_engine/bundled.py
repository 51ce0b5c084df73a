"""The bundled checkpoint of the `tiny` model: one safetensors file in half precision.

Half of the model's parameters are the text encoder's token table. A vocabulary of shapes and colours uses only a
few dozen of its rows. The file holds these rows with their ids, and one row that stands for all the others: the
model is trained to read every word outside its vocabulary the same way.
"""

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sam3_engine.errors import CheckpointError, WrongCheckpoint
from sam3_engine.weights import COMPUTED, State

BUNDLED_TINY = Path(__file__).parent / "checkpoints" / "tiny.safetensors"

TOKEN_TABLE = "backbone.language_backbone.encoder.token_embedding.weight"
VOCABULARY = 49408
"""Rows of the token table: CLIP's byte-pair vocabulary."""

ROWS, IDS, UNKNOWN = (f"{TOKEN_TABLE}.{part}" for part in ("rows", "ids", "unknown"))


def save_bundled(
    model_state: Mapping[str, torch.Tensor], token_ids: Iterable[int], path: str | PathLike[str]
) -> None:
    """Write a state dict, keeping only the given rows of the token table.

    Floats become float16; integers keep their type. Buffers that the model computes when it is built are left out.
    The file is written under another name and then renamed. Raises ValueError for no token ids, ids outside the
    vocabulary, or ids of every row; for a state without the token table, or whose remaining rows are not all equal;
    and for values that are not finite in float16.
    """
    table = model_state.get(TOKEN_TABLE)
    if table is None or table.shape[0] != VOCABULARY:
        raise ValueError(f"the state needs {TOKEN_TABLE} with {VOCABULARY} rows")
    ids = sorted(set(token_ids))
    if not ids or ids[0] < 0 or ids[-1] >= VOCABULARY:
        raise ValueError(f"expected token ids in 0..{VOCABULARY - 1}, at least one")
    others = torch.ones(VOCABULARY, dtype=torch.bool)
    others[ids] = False
    unknown = table.detach()[others]
    if len(unknown) == 0 or (unknown != unknown[0]).any():
        raise ValueError("all rows outside the vocabulary must be the same one")
    stored = {key: _stored(key, value) for key, value in model_state.items() if _belongs(key)}
    stored[ROWS] = _stored(TOKEN_TABLE, table[ids])
    stored[UNKNOWN] = _stored(TOKEN_TABLE, unknown[0])
    stored[IDS] = torch.tensor(ids, dtype=torch.int32)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    save_file(stored, unfinished)
    unfinished.replace(path)


def load_bundled(path: str | PathLike[str] = BUNDLED_TINY) -> State:
    """Read a file of `save_bundled`: a state dict under the model's names, floats as float32, all token rows.

    Load it with `weights.apply`, which leaves computed buffers as the model made them. Raises CheckpointError for
    a file that cannot be opened, WrongCheckpoint for a file of another kind.
    """
    try:
        stored = load_file(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    except SafetensorError as error:
        raise WrongCheckpoint(f"{path} is no safetensors file, or not all of it: {error}") from error
    try:
        rows, ids, unknown = stored.pop(ROWS), stored.pop(IDS).long(), stored.pop(UNKNOWN)
        state = {key: value.float() if value.is_floating_point() else value for key, value in stored.items()}
        table = unknown.float().expand(VOCABULARY, -1).clone()
        table[ids] = rows.float()
    except (KeyError, RuntimeError, IndexError) as error:
        raise WrongCheckpoint(
            f"{path} is not a bundled checkpoint: its token rows are missing or wrong"
        ) from error
    state[TOKEN_TABLE] = table
    return state


def _belongs(key: str) -> bool:
    return key != TOKEN_TABLE and not key.endswith(COMPUTED)


def _stored(key: str, value: torch.Tensor) -> torch.Tensor:
    value = value.detach().cpu()
    if not value.is_floating_point():
        return value.clone().contiguous()
    half = value.to(torch.float16, copy=True).contiguous()
    if not half.isfinite().all():
        raise ValueError(f"{key} has values that are not finite in float16")
    return half
