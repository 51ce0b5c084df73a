"""Callers that ask for the same thing at the same time share one answer.

A flight is: absent -> under way (1..n waiting) -> absent. It ends with its task's result or error, given to
all who wait, or is cancelled when the last one who waits goes away.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiting: int = 0


class SingleFlight(Generic[T]):
    """Runs at most one call per key at a time. For one event loop."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flights

    async def run(self, key: Hashable, call: Callable[[], Awaitable[T]]) -> T:
        """The result of `call`, or of the call for the same key that is under way."""
        if key not in self._flights:
            self._flights[key] = _Flight(asyncio.ensure_future(_as_coroutine(call)))
        return await self.join(key)

    async def join(self, key: Hashable) -> T:
        """The result of the call that is under way. Raises KeyError when there is none."""
        flight = self._flights[key]
        flight.waiting += 1
        try:
            # Shielded: one caller's cancellation is not the others'.
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if flight.task.done() or not flight.waiting:
                flight.task.cancel()
                if self._flights.get(key) is flight:
                    del self._flights[key]


async def _as_coroutine(call: Callable[[], Awaitable[T]]) -> T:
    return await call()
