"""Tensors of a file by name. Each is read only when it is needed, so that a part of a model costs only its part."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Number formats that weights may have in a file."""


@dataclass(frozen=True, slots=True)
class FileTensor:
    """A tensor whose shape and dtype are known and whose values `read` gives, on the CPU."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], torch.Tensor]

    @classmethod
    def of(cls, tensor: torch.Tensor) -> "FileTensor":
        """A tensor that is in memory, or mapped from a file."""
        return cls(tuple(tensor.shape), tensor.dtype, lambda: tensor)

    @classmethod
    def zeros(cls, shape: Sequence[int]) -> "FileTensor":
        """Zeros, for weights that images never use."""
        return cls(tuple(shape), torch.float32, lambda: torch.zeros(tuple(shape)))

    def changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "FileTensor":
        """The tensor after a function of its values. The shape is computed without reading them."""
        shape = change(torch.empty(self.shape, dtype=self.dtype, device="meta")).shape
        return FileTensor(tuple(shape), self.dtype, lambda: change(self.read()))


Tensors = dict[str, FileTensor]


def unusable(name: str, value: torch.Tensor) -> str | None:
    """The sentence about a weight that holds NaN or infinity, on whatever device; None for a usable one. A model would
    answer with such a weight, and find nothing."""
    # One pass and no memory: a sum is finite only where all values are, and is too large for float32 only by mistake.
    if not value.is_floating_point() or bool(value.sum(dtype=torch.float32).isfinite()):
        return None
    wrong = int((~value.isfinite()).sum())
    if not wrong:
        return None
    return (
        f"{name} holds NaN or infinity, {wrong:,} of {value.numel():,} values: the training diverged, or the file is "
        "damaged"
    )


def stacked(parts: Sequence[FileTensor]) -> FileTensor:
    """Tensors one after the other along their first dimension. Raises RuntimeError when they do not fit."""
    shape = torch.cat([torch.empty(part.shape, device="meta") for part in parts]).shape
    return FileTensor(tuple(shape), parts[0].dtype, lambda: torch.cat([part.read() for part in parts]))


class Values(Mapping[str, torch.Tensor]):
    """The values of tensors by name. Each is read when it is asked for, and not kept."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._tensors[name].read()

    def __contains__(self, name: object) -> bool:
        return name in self._tensors  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)
