"""Asks every node for its figures and merges them; keeps the answer for a moment.

A node that does not answer in time is left out and counted as silent: one that has just died is listed as alive for
as long as Ray takes to notice.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import aiohttp

from deployments.observe.exposition import Merged
from deployments.observe.metrics import NAMES

NODE_TIMEOUT_S = 2.0
KEPT_S = 1.0
"""Seconds for which the same answer is given again: `/metrics` asks for no key."""


class ClusterMetrics:
    """`GET /metrics`. `addresses`: gives host and port of each node's exposition, and may block."""

    def __init__(
        self,
        addresses: Callable[[], Sequence[tuple[str, int]]],
        timeout_s: float = NODE_TIMEOUT_S,
        kept_s: float = KEPT_S,
    ) -> None:
        self._addresses = addresses
        self._known: Sequence[tuple[str, int]] = ()
        self._timeout_s = timeout_s
        self._kept_s = kept_s
        self._text = b""
        self._until = float("-inf")
        self._merging = asyncio.Lock()

    async def exposition(self) -> bytes:
        """The exposition of all nodes that answer in time, in Prometheus' text format."""
        async with self._merging:
            if time.monotonic() >= self._until:
                self._text = await self._merge()
                self._until = time.monotonic() + self._kept_s
            return self._text

    async def _merge(self) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                self._known = await asyncio.to_thread(self._addresses)
        except TimeoutError:
            pass  # Ray's directory of nodes is away for the moment: the known nodes are asked
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            texts = await asyncio.gather(*(_text(session, host, port) for host, port in self._known))
        return await asyncio.to_thread(_merged, texts)


async def _text(session: aiohttp.ClientSession, host: str, port: int) -> str | None:
    authority = f"[{host}]" if ":" in host else host
    try:
        async with session.get(f"http://{authority}:{port}/metrics") as response:
            return await response.text() if response.status == 200 else None
    except (TimeoutError, aiohttp.ClientError, UnicodeDecodeError):
        return None


def _merged(texts: Sequence[str | None]) -> bytes:
    merged = Merged()
    answered = 0
    for text in texts:
        if text is None:
            continue
        try:
            merged.read(text)
        except ValueError:
            continue
        answered += 1
    merged.put(NAMES.nodes, answered, state="answered")
    merged.put(NAMES.nodes, len(texts) - answered, state="silent")
    return merged.text()
