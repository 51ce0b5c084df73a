"""Puts the states of videos' sessions into the pool, where they outlive this decoder.

A session's newest state is saved while the next frame is answered, one session after the other. So a decoder that dies
leaves states that are some frames old at most, which do to go on from. A frame with prompts is answered when its state
is saved: clicks are never lost to a death.
"""

import asyncio
from concurrent.futures import Executor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from ray.exceptions import RayError

from deployments.protocol import Overloaded

if TYPE_CHECKING:
    from sam3_engine.tracking.sessions import Session


class SessionStates(Protocol):
    """What a decoder needs of the pool. `deployments.pool.client` implements it."""

    async def keep_session(
        self, tenant: str, session: str, revision: str, block: npt.NDArray[np.uint8]
    ) -> None:
        """Hold a session's newest state. block: uint8 [n]. Raises Overloaded."""
        ...

    async def session_state(self, tenant: str, session: str) -> tuple[str, list[Any]] | None:
        """Revision and reference, nested, of a session's state. Raises Overloaded."""
        ...


class StateSaver:
    """One decoder's states on their way. post: the executor in which a state becomes bytes."""

    def __init__(self, states: SessionStates | None, post: Executor, get_timeout_s: float) -> None:
        self._states = states
        self._post = post
        self._get_timeout_s = get_timeout_s
        self._waiting: dict[tuple[str, str], tuple[str, Session]] = {}
        """The newest state of each session that is to be saved."""
        self._worker: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        """One state at a time is on its way, so that none overtakes a newer one of its session."""

    async def save(self, tenant: str, session: str, revision: str, state: "Session", *, now: bool) -> None:
        """Save a session's newest state soon; `now`: before this returns."""
        if self._states is None:
            return
        self._waiting[tenant, session] = revision, state
        if now:
            await self._save(tenant, session)
        elif self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work())

    async def find(self, tenant: str, session: str) -> bytes | None:
        """The saved state of a session; None where there is none, or it cannot be read in time."""
        if self._states is None:
            return None
        try:
            async with asyncio.timeout(self._get_timeout_s):
                found = await self._states.session_state(tenant, session)
                return None if found is None else (await found[1][0]).tobytes()
        except (TimeoutError, RayError, Overloaded):
            return None

    def forget(self, tenant: str, session: str) -> None:
        """Save nothing more of a session."""
        self._waiting.pop((tenant, session), None)

    async def _work(self) -> None:
        while self._waiting:
            await self._save(*next(iter(self._waiting)))

    async def _save(self, tenant: str, session: str) -> None:
        """Save what waits of a session. A state that cannot be saved is replaced by the next one."""
        async with self._turn:
            waiting = self._waiting.pop((tenant, session), None)
            if waiting is None or self._states is None:
                return
            revision, state = waiting
            block = await asyncio.get_running_loop().run_in_executor(self._post, _bytes, state)
            with suppress(TimeoutError, RayError, Overloaded):
                async with asyncio.timeout(self._get_timeout_s):
                    await self._states.keep_session(tenant, session, revision, block)


def _bytes(state: "Session") -> npt.NDArray[np.uint8]:
    from sam3_engine.tracking.storing import session_to_bytes

    return np.frombuffer(session_to_bytes(state), dtype=np.uint8)
