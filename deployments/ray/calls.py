"""Calls between deployments: of one replica, once more on another one when it dies, or of all replicas.

docs/retries.md lists the repetitions.
"""

import asyncio
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from deployments.protocol import Overloaded

CALL_TRIES = 2
"""Calls of one replica: the last one after another replica's death."""
BROADCAST_S = 10.0
"""Seconds in which all replicas have to answer."""


def connect(*handles: DeploymentHandle[Any] | None) -> None:
    """Have handles learn of their replicas now. Else they do it at the first call, which waits for as long as the
    cluster's head is away."""
    for handle in handles:
        if handle is not None:
            handle.options()


async def call(
    handle: DeploymentHandle[Any],
    method: str,
    *args: Any,
    affinity: str = "",
    references: bool = False,
    retry_after_s: float = 1.0,
) -> Any:
    """The answer of one method call on some replica, by consistent hashing when `affinity` is given.

    references: the arguments hold object references. They have to go as arguments of an actor's task, which is dearer:
        Ray does not see inside of Serve's own messages, and would never free an object that they refer to.

    The calls of this application may be repeated, so a replica's death means one more try, on another one.
    Raises Overloaded when too many calls wait or the deployment cannot start, and any error of the method. Cancelling
    it cancels the call.
    """
    options: dict[str, Any] = {"method_name": method}
    if affinity:
        options["session_id"] = affinity
    if references:
        options["_by_reference"] = True
    target = handle.options(**options)
    for left in reversed(range(CALL_TRIES)):
        response = target.remote(*args)
        try:
            return await response
        except (BackPressureError, DeploymentUnavailableError):
            raise Overloaded(retry_after_s) from None
        except RayTaskError as error:
            raise error.cause from None  # the method's own error, without the task around it
        except RayActorError:
            if not left:
                raise
        except asyncio.CancelledError:
            response.cancel()  # type: ignore[no-untyped-call]
            raise
    raise AssertionError("unreachable")


async def call_all(handle: DeploymentHandle[Any], method: str, *args: Any) -> list[Any]:
    """Every running replica's answer, or the error instead of it; one TimeoutError when not all answer in time."""
    try:
        return await handle.broadcast(method, *args).results_async(
            timeout_s=BROADCAST_S, return_exceptions=True
        )
    except DeploymentUnavailableError:
        return []  # no replica, so nothing to ask
    except TimeoutError as error:
        return [error]
