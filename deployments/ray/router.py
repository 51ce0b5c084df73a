"""Calls between deployments: to the replica that holds the image, once more elsewhere when a replica dies.

`AffinityRouter` leans on private parts of Serve's router (ray 2.60), which tests/integration hold in place.
"""

import asyncio
from dataclasses import replace
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError
from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter
from ray.serve.handle import DeploymentHandle

from deployments.protocol import Overloaded
from deployments.ray import ring

ROUTER = "deployments.ray.router.AffinityRouter"


class AffinityRouter(ConsistentHashRouter):
    """Routes by `session_id` on a ring of replicas; an overloaded replica's requests go on to the next two.

    Serve's class finds a waiting call by the id of the HTTP request that it belongs to, so concurrent calls
    of one request (a list of images) hide one another and hang. Here the call's own metadata object is the
    key. And Serve's class hashes replicas' random names; here it hashes their places (see `deployments.ray.ring`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._pending_by_call: dict[int, Any] = {}

    def _add_pending_request_to_indices(self, pending_request: Any) -> None:
        self._pending_by_call[id(pending_request.metadata)] = pending_request

    def _remove_pending_request_from_indices(self, pending_request: Any) -> None:
        self._pending_by_call.pop(id(pending_request.metadata), None)

    def _get_pending_request_matching_internal_request_id(self, request_metadata: Any = None) -> Any:
        found = self._pending_by_call.get(id(request_metadata))
        return found if found is not None and not found.future.done() else None

    def _rebuild_ring(self, new_snapshot: Any) -> None:
        said = {name.unique_id: self._replicas[name].replica_metadata for name in new_snapshot}
        places = ring.places(said)
        # Names that say the place, for as long as the ring is made.
        owner = {replace(name, unique_id=str(places[name.unique_id])): name for name in new_snapshot}
        super()._rebuild_ring(frozenset(owner))
        self._ring_replicas = [owner[name] for name in self._ring_replicas]
        self._replica_set_snapshot = frozenset(new_snapshot)


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

    references: whether there are any in the arguments. They have to go as those of an actor's task, which is dearer:
    Ray does not see what is inside of Serve's own messages, and would never free what it refers to.

    The calls of this application may be repeated, so a replica's death means one more try, on another one.
    Raises Overloaded when too many calls wait, and what the method raises. Cancelling it cancels the call.
    """
    options: dict[str, Any] = {"method_name": method}
    if affinity:
        options["session_id"] = affinity
    if references:
        options["_by_reference"] = True
    target = handle.options(**options)
    for last in (False, True):
        response = target.remote(*args)
        try:
            return await response
        except BackPressureError:
            raise Overloaded(retry_after_s) from None
        except RayTaskError as error:
            raise error.cause from None  # what the method raised, without the task around it
        except RayActorError:
            if last:
                raise
        except asyncio.CancelledError:
            response.cancel()  # type: ignore[no-untyped-call]
            raise
    raise AssertionError("unreachable")
