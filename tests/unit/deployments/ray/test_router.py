import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from ray.exceptions import ActorUnavailableError, RayTaskError
from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID, RequestMetadata
from ray.serve._private.request_router.common import PendingRequest
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from deployments.protocol import Overloaded
from deployments.ray.router import ROUTER, AffinityRouter, call


class Response:
    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def __await__(self) -> Any:
        return self._get().__await__()

    async def _get(self) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome == "hang":
            await asyncio.sleep(60)
        return self.outcome


class Handle:
    """A DeploymentHandle whose calls have the outcomes that it is given."""

    def __init__(self, *outcomes: Any) -> None:
        self.responses = [Response(outcome) for outcome in outcomes]
        self.calls: list[tuple[Any, ...]] = []
        self.chosen: dict[str, str] = OrderedDict()

    def options(self, **options: str) -> "Handle":
        self.chosen = options
        return self

    def remote(self, *args: Any) -> Response:
        self.calls.append(args)
        return self.responses[len(self.calls) - 1]


async def ask(handle: Handle, **options: Any) -> Any:
    return await call(cast("DeploymentHandle[Any]", handle), "run", "job", **options)


def gone() -> ActorUnavailableError:
    return ActorUnavailableError("gone", b"0" * 16)


async def test_a_call_is_routed_by_its_key() -> None:
    handle = Handle("answer")
    assert await ask(handle, affinity="key") == "answer"
    assert handle.chosen == {"method_name": "run", "session_id": "key"}
    assert handle.calls == [("job",)]


async def test_a_call_without_a_key_goes_anywhere() -> None:
    handle = Handle("answer")
    await ask(handle)
    assert handle.chosen == {"method_name": "run"}


async def test_a_dead_replica_means_one_more_try() -> None:
    handle = Handle(gone(), "answer")
    assert await ask(handle) == "answer"
    assert len(handle.calls) == 2


async def test_the_second_death_is_an_error() -> None:
    handle = Handle(gone(), gone(), "answer")
    with pytest.raises(ActorUnavailableError):
        await ask(handle)


async def test_full_queues_are_an_overload_and_not_tried_again() -> None:
    handle = Handle(BackPressureError(num_queued_requests=5, max_queued_requests=5), "answer")
    with pytest.raises(Overloaded) as raised:
        await ask(handle, retry_after_s=3.0)
    assert raised.value.retry_after_s == 3.0
    assert len(handle.calls) == 1


async def test_errors_of_the_method_are_raised_as_they_are() -> None:
    handle = Handle(ValueError("no"), "answer")
    with pytest.raises(ValueError, match="no"):
        await ask(handle)
    assert len(handle.calls) == 1


async def test_errors_of_an_actors_task_are_those_of_the_method() -> None:
    error = RayTaskError("run", "traceback", Overloaded(3.0)).as_instanceof_cause()
    with pytest.raises(Overloaded) as raised:
        await ask(Handle(error, "answer"), references=True)
    assert type(raised.value) is Overloaded
    assert raised.value.retry_after_s == 3.0


async def test_cancelling_cancels_the_replicas_work() -> None:
    handle = Handle("hang")
    running = asyncio.create_task(ask(handle))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert handle.responses[0].cancelled


def test_the_router_can_be_found_by_its_name() -> None:
    module, _, name = ROUTER.rpartition(".")
    assert (module, name) == (AffinityRouter.__module__, AffinityRouter.__name__)


DEPLOYMENT = DeploymentID("PromptDecoder", "sam3")
KEYS = [f"key-{number}" for number in range(3000)]


@dataclass
class Replica:
    """A replica as its router sees it."""

    name: str
    rank: int
    since: float = 1.0
    ongoing: int = 0
    max_ongoing_requests: int = 1
    replica_id: ReplicaID = field(init=False)

    def __post_init__(self) -> None:
        self.replica_id = ReplicaID(self.name, DEPLOYMENT)

    @property
    def replica_metadata(self) -> dict[str, float]:
        return {"rank": self.rank, "since": self.since}

    async def get_queue_len(self, **_: Any) -> int:
        return self.ongoing


def router() -> AffinityRouter:
    made = AffinityRouter(DEPLOYMENT, DeploymentHandleSource.REPLICA)
    made.initialize_state()
    return made


def owners(made: AffinityRouter, *replicas: Replica) -> dict[str, str]:
    """Which of these replicas each key goes to."""
    made.update_replicas(cast("Any", replicas))
    found = {key: made._lookup_ranked_replicas(key)[0].unique_id for key in KEYS}
    assert set(found.values()) == {replica.name for replica in replicas}
    return found


def moved(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """The keys whose owner is another one."""
    return {key for key in KEYS if before[key] != after[key]}


@pytest.mark.parametrize("count", [2, 3, 4, 8])
async def test_keys_are_spread_evenly(count: int) -> None:
    found = Counter(owners(router(), *(Replica(f"r{rank}", rank) for rank in range(count))).values())
    assert all(0.75 < keys * count / len(KEYS) < 1.25 for keys in found.values())


async def test_only_the_keys_of_a_replica_that_leaves_move() -> None:
    first, second, third = (Replica(name, rank) for rank, name in enumerate("abc"))
    made = router()
    before = owners(made, first, second, third)
    after = owners(made, first, third)
    assert moved(before, after) == {key for key in KEYS if before[key] == "b"}
    assert len(moved(before, after)) < 0.4 * len(KEYS)


async def test_only_the_keys_that_a_new_replica_takes_move() -> None:
    first, second, third = (Replica(name, rank) for rank, name in enumerate("abc"))
    made = router()
    before = owners(made, first, second)
    after = owners(made, first, second, third)
    assert moved(before, after) == {key for key in KEYS if after[key] == "c"}
    assert len(moved(before, after)) < 0.4 * len(KEYS)


async def test_a_replacement_has_the_keys_of_the_one_that_died() -> None:
    first, second, third = (Replica(name, rank) for rank, name in enumerate("abc"))
    made = router()
    before = owners(made, first, second, third)
    owners(made, first, third)
    after = owners(made, first, third, Replica("new", rank=1, since=9.0))
    assert moved(before, after) == {key for key in KEYS if after[key] == "new"}
    assert {before[key] for key in moved(before, after)} == {"b"}


async def test_another_process_routes_alike() -> None:
    replicas = [Replica(name, rank) for rank, name in enumerate("abc")]
    assert owners(router(), *replicas) == owners(router(), *reversed(replicas))


async def chosen(made: AffinityRouter, key: str, *replicas: Replica) -> str:
    """The replica that a request goes to."""
    made.update_replicas(cast("Any", replicas))
    asked = PendingRequest([], {}, RequestMetadata("id", "internal id", session_id=key))
    return (await made._choose_replica_for_request(asked)).replica_id.unique_id


async def test_a_replica_that_is_full_passes_its_requests_on_for_as_long_as_it_is() -> None:
    replicas = {name: Replica(name, rank) for rank, name in enumerate("abcd")}
    made = router()
    order = []
    for _ in range(3):
        order.append(await chosen(made, "key", *replicas.values()))
        replicas[order[-1]].ongoing = 1
    assert len(set(order)) == 3, "each time another one, in the order of the ring"
    replicas[order[0]].ongoing = 0
    assert await chosen(made, "key", *replicas.values()) == order[0]
