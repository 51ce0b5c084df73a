"""Which replica a call goes to: the one that holds the image. On Serve's private router: docs/ray.md."""

from dataclasses import replace
from typing import Any

from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

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
