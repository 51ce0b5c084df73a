"""Which replica a call goes to: the one that holds the image. On Serve's private router: docs/ray.md."""

from dataclasses import replace
from typing import Any

from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

from deployments.hedging.replicas import key_of, replicas_of
from deployments.ray import ring

ROUTER = "deployments.ray.router.AffinityRouter"


class AffinityRouter(ConsistentHashRouter):
    """Routes by `session_id` on a ring of replicas; an overloaded replica's requests go on to the next two. So do a
    silent one's, and a hedge (see `deployments.hedging`): that is why a session is a key and a call's own number.

    Serve's class finds a waiting call by the id of the HTTP request that it belongs to, so concurrent calls
    of one request (a list of images) hide one another and hang. Here the call's own metadata object is the
    key. And Serve's class hashes replicas' random names; here it hashes their places (see `deployments.ray.ring`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._pending_by_call: dict[int, Any] = {}
        self._seen = replicas_of(self._deployment_id.app_name, self._deployment_id.name)

    def _add_pending_request_to_indices(self, pending_request: Any) -> None:
        self._pending_by_call[id(pending_request.metadata)] = pending_request

    def _remove_pending_request_from_indices(self, pending_request: Any) -> None:
        self._pending_by_call.pop(id(pending_request.metadata), None)

    def _get_pending_request_matching_internal_request_id(self, request_metadata: Any = None) -> Any:
        found = self._pending_by_call.get(id(request_metadata))
        return found if found is not None and not found.future.done() else None

    def _routing_key(self, pending_request: Any) -> str | None:
        return key_of(super()._routing_key(pending_request) or "") or None

    async def choose_replicas(self, candidate_replicas: Any, pending_request: Any = None) -> Any:
        """Called by Serve's router, each time that it looks for a replica."""
        ranks = await super().choose_replicas(candidate_replicas, pending_request)
        session = pending_request.metadata.session_id if pending_request is not None else ""
        if self._seen.is_trial(session):
            ranks = [[replica] for replica in candidate_replicas]
        return self._seen.ranked(session, ranks, lambda rank: str(rank[0].replica_id.unique_id))

    def _fulfill_next_pending_request(self, replica: Any, request_metadata: Any = None) -> None:
        if request_metadata is not None:
            self._seen.sent(request_metadata.session_id, replica.replica_id.unique_id)
        super()._fulfill_next_pending_request(replica, request_metadata)

    def _rebuild_ring(self, new_snapshot: Any) -> None:
        self._seen.update(name.unique_id for name in new_snapshot)
        said = {name.unique_id: self._replicas[name].replica_metadata for name in new_snapshot}
        places = ring.places(said)
        # Names that say the place, for as long as the ring is made.
        owner = {replace(name, unique_id=str(places[name.unique_id])): name for name in new_snapshot}
        super()._rebuild_ring(frozenset(owner))
        self._ring_replicas = [owner[name] for name in self._ring_replicas]
        self._replica_set_snapshot = frozenset(new_snapshot)
