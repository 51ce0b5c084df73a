"""CUDA graphs of pure functions of tensors: one launch in place of a thousand.

A decoder pass is 2 ms of GPU work under 10-15 ms of launches. A graph holds the launches of one function for one set of
shapes. It reads its inputs from, and writes its outputs to, memory of its own.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch

log = logging.getLogger(__name__)

Tensors = tuple[torch.Tensor, ...]
Function = Callable[..., Tensors]

BUCKETS = (1, 2, 4, 8, 16)
"""Sizes of batches that have a graph. A smaller batch is padded to the next one."""
WARM_UP_CALLS = 3
"""Calls before a capture: lazy initialisation, and the choice of kernels, must not happen within it."""


class Graph(Protocol):
    """A captured function."""

    def replay(self, inputs: Sequence[torch.Tensor]) -> Tensors:
        """The function's outputs, in the graph's own memory: the next replay overwrites them."""
        ...

    def release(self) -> None:
        """The caller has queued all work that reads the outputs."""
        ...


class Pool(Protocol):
    """Captures graphs that share memory: only one of them may run at a time."""

    def capture(self, function: Function, inputs: Sequence[torch.Tensor]) -> Graph:
        """A graph of the function for these inputs' shapes. Raises RuntimeError where there can be none."""
        ...

    def empty(self) -> "Pool":
        """Another pool like this one, that holds nothing."""
        ...


class CudaPool:
    """The memory of CUDA graphs of one function: of their inputs, by place and shape, and of all that they compute."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        with torch.cuda.device(device):
            self.memory = torch.cuda.graph_pool_handle()
            self.stream = torch.cuda.Stream()
            """Captures run on it."""
            self.free = torch.cuda.Event()
            """All work is done that reads this memory, as far as it was queued before the last release."""
            self.free.record()
        self._inputs: dict[object, torch.Tensor] = {}

    def capture(self, function: Function, inputs: Sequence[torch.Tensor]) -> "CudaGraph":
        """Capture a function. Raises RuntimeError where it does what no graph can hold, or memory is short."""
        return CudaGraph(self, function, inputs)

    def empty(self) -> "CudaPool":
        """A pool with memory of its own on the same device."""
        return CudaPool(self.device)

    def copies(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The inputs, copied to where graphs read them, once no earlier work does."""
        torch.cuda.current_stream(self.device).wait_event(self.free)  # which another stream may have queued
        copied = []
        for place, given in enumerate(inputs):
            key = (place, given.shape, given.dtype)
            if key not in self._inputs:
                self._inputs[key] = torch.empty_like(given)  # channels last where they are
            copied.append(self._inputs[key].copy_(given))
        return copied


class CudaGraph:
    """A function of tensors as a CUDA graph, for inputs of fixed shapes."""

    def __init__(self, pool: CudaPool, function: Function, inputs: Sequence[torch.Tensor]) -> None:
        self._pool = pool
        with torch.cuda.device(pool.device):
            # Not in the graphs' memory: the intermediate results of one graph would lie over another's inputs.
            own = pool.copies(inputs)
            stream, current = pool.stream, torch.cuda.current_stream()
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP_CALLS):
                    function(*own)
            current.wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            # Other threads may allocate and copy meanwhile: the capture concerns this one alone.
            with torch.cuda.graph(
                self._graph, pool=pool.memory, stream=stream, capture_error_mode="thread_local"
            ):
                self._outputs = function(*own)

    def replay(self, inputs: Sequence[torch.Tensor]) -> Tensors:
        """Queue the copies of the inputs and the graph on the current stream."""
        with torch.cuda.device(self._pool.device):
            self._pool.copies(inputs)
            self._graph.replay()
        return self._outputs

    def release(self) -> None:
        """Let the next replay wait for the reads that are queued so far."""
        self._pool.free.record(torch.cuda.current_stream(self._pool.device))


class Graphs:
    """The graphs of one function, one for each set of shapes. Safe to use from several threads.

    Graphs are captured within `capturing` alone, which a warm-up enters: a capture takes as long as many calls. Other
    shapes, and shapes whose capture failed, run as they are; so does everything where there is no pool.
    """

    def __init__(self, function: Function, pool: Pool | None, largest: int = BUCKETS[-1]) -> None:
        """largest: size of the largest batch that gets a graph."""
        self._function = function
        self._pool = pool
        self._largest = largest
        self._graphs: dict[object, Graph | None] = {}
        """None: the capture failed."""
        self._capture = False
        self._lock = threading.RLock()

    @classmethod
    def on(cls, function: Function, device: torch.device, largest: int = BUCKETS[-1]) -> "Graphs":
        """Graphs of a function with a memory pool of their own on CUDA, and without one elsewhere."""
        there = device.type == "cuda" and torch.cuda.is_available()
        return cls(function, CudaPool(device) if there else None, largest)

    def __len__(self) -> int:
        return sum(graph is not None for graph in self._graphs.values())

    @property
    def failed(self) -> int:
        """Number of shapes whose capture failed."""
        return len(self._graphs) - len(self)

    def forget(self, *, forever: bool = False) -> None:
        """Drop what was captured, and its memory. forever: run everything as it is from now on, without padding."""
        with self._lock:
            self._graphs.clear()
            if forever:
                self._pool = None
            elif self._pool is not None:
                self._pool = self._pool.empty()

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """Let a call with new shapes capture a graph within the block."""
        self._capture = True
        try:
            yield
        finally:
            self._capture = False

    def padded(self, count: int) -> int:
        """The size to which a batch of `count` is padded: the next bucket where graphs are used, else its own."""
        if self._pool is None or count > self._largest:
            return count
        return next(size for size in BUCKETS if size >= count)

    @contextmanager
    def run(self, *inputs: torch.Tensor, count: int) -> Iterator[Tensors]:
        """The function's outputs for a batch of `count`. Read or copy them within the block: the next call may
        overwrite them."""
        pool = self._pool
        if pool is None or count > self._largest:
            yield self._function(*inputs)
            return
        with self._lock:
            graph = self._graph(pool, inputs)
            if graph is None:
                yield self._function(*inputs)
                return
            outputs = graph.replay(inputs)
            try:
                yield outputs
            finally:
                graph.release()

    def copied(self, *inputs: torch.Tensor, count: int) -> Tensors:
        """The function's outputs for a batch of `count`, which no later call overwrites."""
        if self._pool is None or count > self._largest:
            return self._function(*inputs)
        with self.run(*inputs, count=count) as outputs:
            return tuple(one.clone() for one in outputs)

    def _graph(self, pool: Pool, inputs: Tensors) -> Graph | None:
        key = tuple((one.shape, one.dtype) for one in inputs)
        if key not in self._graphs and self._capture:
            try:
                self._graphs[key] = pool.capture(self._function, inputs)
            except RuntimeError:
                log.exception("no CUDA graph for %s: this shape runs without one", [tuple(k[0]) for k in key])
                self._graphs[key] = None
        return self._graphs.get(key)
