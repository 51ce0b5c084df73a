"""Batches of prompts: padded to a size, with one map for all where they share it."""

from collections.abc import Sequence
from typing import TypeVar

import torch

T = TypeVar("T")


def pad(given: Sequence[T], count: int) -> list[T]:
    """The list with its last entry repeated up to `count`. A model that answers each row by itself gives the others
    the same answers."""
    return [*given, *[given[-1]] * (count - len(given))]


def one_or_all(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Maps [1, C, h, w] of P prompts as one batch, or the one map that all prompts share."""
    first = maps[0]
    return first if all(one is first for one in maps) else torch.cat(list(maps))
