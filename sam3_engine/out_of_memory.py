"""Answers to a GPU that has too little memory for a batch."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from sam3_engine.errors import DeviceFull

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_halves(
    run: Callable[[Sequence[Item]], Sequence[Result]],
    items: Sequence[Item],
    on_out_of_memory: Callable[[], None],
) -> list[Result]:
    """`run(items)`, one result for each; in halves, and halves of these, where the GPU's memory is too small for all.

    on_out_of_memory: called for each batch that did not fit. Raises DeviceFull where a single item does not fit.
    """
    try:
        return list(run(items))
    except torch.OutOfMemoryError:
        pass  # the tensors of the failed call live until here
    on_out_of_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(items) == 1:
        raise DeviceFull
    middle = len(items) // 2
    parts = (items[:middle], items[middle:])
    return [result for part in parts for result in in_halves(run, part, on_out_of_memory)]
