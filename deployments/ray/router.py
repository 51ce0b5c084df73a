"""Routing of each call to the replica that holds its image. Built on Serve's private router: docs/ray.md."""

import random
from dataclasses import replace
from typing import Any

from ray.serve._private.request_router.pow_2_router import PowerOfTwoChoicesRequestRouter
from ray.serve._private.request_router.request_router import RequestRouter
from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

from deployments.ray import ring
from deployments.ray.replicas import key_of, replicas_of

ROUTER = "deployments.ray.router.AffinityRouter"
LOAD_ROUTER = "deployments.ray.router.LoadRouter"


class _PassesOver(RequestRouter):
    """Passes over replicas that a call may not go to (`deployments.ray.replicas`), and notes where each call goes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seen = replicas_of(self._deployment_id.app_name, self._deployment_id.name)

    def update_replicas(self, replicas: Any) -> None:
        """Called by Serve when it hears of replicas."""
        super().update_replicas(replicas)
        self._seen.update(replica.replica_id.unique_id for replica in replicas)

    async def choose_replicas(self, candidate_replicas: Any, pending_request: Any = None) -> Any:
        """Called by Serve each time that it looks for a replica."""
        # The class beside this one has it.
        ranks: Any = await super().choose_replicas(candidate_replicas, pending_request)  # type: ignore[safe-super]
        allowed = self._seen.allowed(pending_request.metadata.session_id) if pending_request else None
        if allowed is None:
            return ranks
        left = [[each for each in rank if each.replica_id.unique_id in allowed] for rank in ranks]
        others = [each for each in candidate_replicas if each.replica_id.unique_id in allowed]
        if not others:
            return ranks
        return [rank for rank in left if rank] or [[random.choice(others)]]  # noqa: S311 - no secret

    async def _choose_replica_for_request(self, pending_request: Any, *, is_retry: bool = False) -> Any:
        replica = await super()._choose_replica_for_request(pending_request, is_retry=is_retry)
        self._seen.sent(pending_request.metadata.session_id, replica.replica_id.unique_id)
        return replica


class LoadRouter(_PassesOver, PowerOfTwoChoicesRequestRouter):
    """Routes to the less loaded of two replicas, as Serve does by itself."""


class AffinityRouter(_PassesOver, ConsistentHashRouter):
    """Routes by `session_id` on a ring of replicas; an overloaded replica's requests go on to the next two. So do a
    silent one's, and a hedge (see `deployments.hedging`): that is why a session is a key and a call's own number.

    Serve's class finds a waiting call by the id of the HTTP request that it belongs to, so concurrent calls
    of one request (a list of images) hide one another and hang. Here the call's own metadata object is the
    key. And Serve's class hashes replicas' random names; here it hashes their places (see `deployments.ray.ring`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pending_by_call: dict[int, Any] = {}

    def _add_pending_request_to_indices(self, pending_request: Any) -> None:
        self._pending_by_call[id(pending_request.metadata)] = pending_request

    def _remove_pending_request_from_indices(self, pending_request: Any) -> None:
        self._pending_by_call.pop(id(pending_request.metadata), None)

    def _get_pending_request_matching_internal_request_id(self, request_metadata: Any = None) -> Any:
        found = self._pending_by_call.get(id(request_metadata))
        return found if found is not None and not found.future.done() else None

    def _routing_key(self, pending_request: Any) -> str | None:
        return key_of(super()._routing_key(pending_request) or "") or None

    def _rebuild_ring(self, new_snapshot: Any) -> None:
        said = {name.unique_id: self._replicas[name].replica_metadata for name in new_snapshot}
        places = ring.places(said)
        # Names that say the place, for as long as the ring is made.
        owner = {replace(name, unique_id=str(places[name.unique_id])): name for name in new_snapshot}
        super()._rebuild_ring(frozenset(owner))
        self._ring_replicas = [owner[name] for name in self._ring_replicas]
        self._replica_set_snapshot = frozenset(new_snapshot)
