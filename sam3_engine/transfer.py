"""Copies between host and device on streams of their own: the calling thread waits for none of them, and the device
computes meanwhile."""

import threading
import warnings
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.generic]
IN_FLIGHT = 2
"""Batches that may be under way on the device: it computes one while the host prepares the next."""


@dataclass(frozen=True, slots=True)
class Arriving:
    """Tensors in host memory, which a device may still be writing."""

    tensors: list[torch.Tensor]
    written: torch.cuda.Event | None

    def wait(self) -> list[torch.Tensor]:
        """The tensors, once they are written. The thread sleeps until then."""
        if self.written is not None:
            self.written.synchronize()
        return self.tensors


class Transfer:
    """The copies to and from one device, for any number of threads. On a CPU, nothing is copied without need."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        on_gpu = device.type == "cuda"
        self._there = torch.cuda.Stream(device) if on_gpu else None
        self._back = torch.cuda.Stream(device) if on_gpu else None
        self._under_way: deque[torch.cuda.Event] = deque()
        self._room = threading.Lock()

    def to_device(self, arrays: Sequence[Array]) -> torch.Tensor:
        """Arrays of one shape and dtype, stacked, on the device. uint16 becomes bfloat16. On a CPU, a single array
        shares its memory."""
        rows = [as_tensor(array) for array in arrays]
        if self._there is None:
            return rows[0].unsqueeze(0) if len(rows) == 1 else torch.stack(rows)
        pinned = torch.empty((len(rows), *rows[0].shape), dtype=rows[0].dtype, pin_memory=True)
        torch.stack(rows, out=pinned)
        with torch.cuda.stream(self._there):
            copied = pinned.to(self._device, non_blocking=True)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._there)
        copied.record_stream(computing)
        return copied

    def to_host(self, parts: Sequence[torch.Tensor]) -> list[Arriving]:
        """Tensors [B, ...] to B rows of each, every one in memory of its own, so that no image keeps another's."""
        rows = list(zip(*parts, strict=True))
        if self._back is None:
            return [Arriving([part.clone() if len(rows) > 1 else part for part in row], None) for row in rows]
        self._back.wait_stream(torch.cuda.current_stream(self._device))
        arriving = []
        with torch.cuda.stream(self._back):
            for row in rows:
                pinned = [torch.empty(part.shape, dtype=part.dtype, pin_memory=True) for part in row]
                for host, part in zip(pinned, row, strict=True):
                    host.copy_(part, non_blocking=True)
                written = torch.cuda.Event(blocking=True)
                written.record(self._back)
                arriving.append(Arriving(pinned, written))
        for part in parts:
            part.record_stream(self._back)
        self._under_way.append(written)
        return arriving

    def wait_for_room(self) -> None:
        """Wait until fewer than IN_FLIGHT calls of `to_host` are under way."""
        with self._room:
            while len(self._under_way) >= IN_FLIGHT:
                self._under_way.popleft().synchronize()


def as_tensor(array: Array) -> torch.Tensor:
    """The array as a tensor that shares its memory, which may be read-only: nothing may write to it. uint16 becomes
    bfloat16."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor


def as_array(tensor: torch.Tensor) -> Array:
    """The inverse of `as_tensor`, for contiguous tensors on the host."""
    array: Array = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array
