"""The threads in which a worker executes the steps of its runs."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class StepPool(ThreadPoolExecutor):
    """Threads that outlive a run, because starting new ones costs more than most steps. For one run at a time."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads, thread_name_prefix="step")
        self._submitted: list[Future[Any]] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run a step, as Executor.submit does, and remember its future."""
        future = super().submit(fn, *args, **kwargs)
        self._submitted.append(future)
        return future

    def drain(self) -> None:
        """Wait until all steps of a run have ended: when one step fails, the engine does not wait for the others."""
        for future in self._submitted:
            future.cancel()
        wait(self._submitted)
        self._submitted.clear()
