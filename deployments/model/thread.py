"""The one thread in which a process's model runs, and the canary that tells whether it still answers
right."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

P = ParamSpec("P")
T = TypeVar("T")


class ModelThread(ThreadPoolExecutor):
    """An executor of one thread: the model's calls follow one another, and the event loop stays free."""

    def __init__(self, name: str) -> None:
        super().__init__(1, thread_name_prefix=name)
        self._since: float | None = None
        self._done_s = 0.0
        self._seen = (time.monotonic(), 0.0)
        """The time when `busy_share` was last asked, and the seconds that calls had run by then."""

    @property
    def busy_s(self) -> float:
        """Seconds that the running call has taken so far; 0 when none runs."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def busy_share(self) -> float:
        """Share of the time since this was last asked in which a call ran, 0 to 1."""
        now, ran = time.monotonic(), self._done_s + self.busy_s
        (before, ran_before), self._seen = self._seen, (now, ran)
        return min(1.0, max(0.0, ran - ran_before) / max(now - before, 1e-6))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run a call on the thread, as Executor.submit does, and count its seconds."""
        return super().submit(partial(self._timed, fn, *args, **kwargs))

    def _timed(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        self._since = started = time.monotonic()
        try:
            return fn(*args, **kwargs)
        finally:
            self._since = None
            self._done_s += time.monotonic() - started


class Unhealthy(Exception):
    """This replica should be replaced."""


class Canary:
    """A call whose answer is known. Its answer changes when weights or device are broken, not just the
    process."""

    CHEAP_S = 0.5
    """A canary that takes longer is not repeated: it would cost more than it tells."""
    STUCK_S = 300.0
    """A call of the model that takes longer than this has hung."""
    TOLERANCE = 0.05
    """Relative difference of two answers that batching and low precision may cause."""

    def __init__(self, call: Callable[[], npt.NDArray[Any]], thread: ModelThread) -> None:
        """call: gives float values of any shape. It runs here once, in `thread` as later."""
        self._call = call
        self._thread = thread
        started = time.monotonic()
        self._expected = thread.submit(call).result().astype(np.float32)
        self._cheap = time.monotonic() - started < self.CHEAP_S
        if not np.isfinite(self._expected).all():
            raise Unhealthy("the model's answers are not finite numbers")

    async def check(self) -> None:
        """Raises Unhealthy. A model that is working is taken to be well, unless it works for too long."""
        busy_s = self._thread.busy_s
        if busy_s > self.STUCK_S:
            raise Unhealthy(f"the model has not come back for {busy_s:.0f} seconds")
        if busy_s or not self._cheap:
            return
        answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._call)
        difference = float(np.linalg.norm(answer.astype(np.float32) - self._expected))
        if not difference <= self.TOLERANCE * float(np.linalg.norm(self._expected)):  # NaN is unhealthy too
            raise Unhealthy("the model's answer to its canary has changed")
