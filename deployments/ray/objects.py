"""A replica's answer that stays in the object store: its caller owns it, and learns its size without its bytes."""

import asyncio
from concurrent.futures import Executor
from functools import partial
from typing import Any

import ray
from ray.experimental.locations import get_local_object_locations
from ray.serve.handle import DeploymentHandle, DeploymentResponse

IN_PLASMA = 100 * 1024
"""Results of this size are in the object store; smaller ones, errors among them, come by value."""


def by_reference(handle: DeploymentHandle[Any], method: str) -> DeploymentHandle[Any]:
    """A handle whose calls of one method are an actor's tasks."""
    return handle.options(method_name=method, _by_reference=True)


async def reference_of(response: DeploymentResponse[Any]) -> Any:
    """The ObjectRef of such a call's answer, once a replica has the call."""
    return await response._to_object_ref()


async def settled(reference: Any, waiters: Executor) -> int:
    """Wait for an object, in a thread of `waiters`, without fetching it; its bytes. Raises the error, if it turned out
    to be one."""
    wait = partial(ray.wait, [reference], fetch_local=False)
    await asyncio.get_running_loop().run_in_executor(waiters, wait)
    size = get_local_object_locations([reference]).get(reference, {}).get("object_size")
    if size and size > IN_PLASMA:
        return int(size)
    value = await reference  # small, so kept by value: an error, or a very small embedding
    return int(value.nbytes)
