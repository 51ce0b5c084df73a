"""Steps on the store's server: each is one atomic script, timed, and StoreAway where the server does not take it."""

import re
import time
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

from valkey.exceptions import ResponseError, ValkeyClusterException, ValkeyError

from deployments.config import StoreConfig
from deployments.observe.metrics import NAMES, Metrics
from deployments.protocol import StoreAway
from deployments.store.connections import close, connect

T = TypeVar("T")

STATE_OF_THE_SERVER = re.compile(r"[A-Z]{4,} ")
"""Beginning of errors that are not about the step: MISCONF, MASTERDOWN. The client removes ERR."""


class Steps:
    """The scripts that one part of the store runs. For one event loop. It connects with its first step."""

    def __init__(
        self,
        config: StoreConfig,
        metrics: Metrics,
        text: Callable[[str], str],
        fixed: tuple[str | int, ...],
    ) -> None:
        """text: of a script, by its name. fixed: what every script is told, behind the prefix of all keys.

        Raises ValueError for a URL that means nothing, OSError for a file of the password that cannot be read.
        """
        self.client = connect(config)
        self.prefix = f"{{{config.prefix}}}:"
        self._metrics = metrics
        self._text = text
        self._fixed = self.prefix, *fixed
        self._scripts: dict[str, Any] = {}

    async def run(self, name: str, *arguments: str | int | bytes) -> Any:
        """A script's answer."""
        if name not in self._scripts:
            self._scripts[name] = self.client.register_script(self._text(name))
        step = self._scripts[name]
        clock = self.prefix + "clock"
        return await self.timed(name, lambda: step(keys=[clock], args=[*self._fixed, *arguments]))

    async def timed(self, operation: str, step: Callable[[], Awaitable[T]]) -> T:
        """A step's answer. Raises StoreAway."""
        started = time.perf_counter()
        try:
            return await step()
        except (ValkeyError, ValkeyClusterException, OSError, TimeoutError) as error:
            self._metrics.add(NAMES.store_errors, operation=operation)
            if type(error) is ResponseError and not STATE_OF_THE_SERVER.match(str(error)):
                raise  # a mistake of ours
            raise StoreAway from error
        finally:
            self._metrics.observe(NAMES.store_seconds, time.perf_counter() - started, operation=operation)

    async def close(self) -> None:
        """Close the connections."""
        await close(self.client)


@cache
def text_of(*parts: str) -> str:
    """The text of a script, from its parts in the folder."""
    folder = files("deployments.store") / "scripts"
    return "".join((folder / f"{part}.lua").read_text() for part in parts)
