from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID, RequestMetadata
from ray.serve._private.request_router.common import PendingRequest

from deployments.ray.replicas import Replicas
from deployments.ray.router import LOAD_ROUTER, ROUTER, AffinityRouter, LoadRouter


@pytest.mark.parametrize(("path", "router"), [(ROUTER, AffinityRouter), (LOAD_ROUTER, LoadRouter)])
def test_a_router_can_be_found_by_its_name(path: str, router: type) -> None:
    module, _, name = path.rpartition(".")
    assert (module, name) == (router.__module__, router.__name__)


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
    multiplexed_model_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.replica_id = ReplicaID(self.name, DEPLOYMENT)

    @property
    def replica_metadata(self) -> dict[str, float]:
        return {"rank": self.rank, "since": self.since}

    async def get_queue_len(self, **_: Any) -> int:
        return self.ongoing


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> Replicas:
    """The view of the replicas that the caller and its router share."""
    made = Replicas()
    monkeypatch.setattr("deployments.ray.router.replicas_of", lambda *_: made)
    return made


def router() -> AffinityRouter:
    made = AffinityRouter(DEPLOYMENT, DeploymentHandleSource.REPLICA)
    made.initialize_state()
    return made


def owners(made: AffinityRouter, *replicas: Replica) -> dict[str, str]:
    """The replica that each key goes to."""
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


async def chosen(made: AffinityRouter | LoadRouter, key: str, *replicas: Replica) -> str:
    """The replica that a request goes to."""
    made.update_replicas(cast("Any", replicas))
    asked = PendingRequest([], {}, RequestMetadata("id", "internal id", session_id=key))
    return str((await made._choose_replica_for_request(asked)).replica_id.unique_id)


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


async def test_a_call_and_its_hedge_go_to_different_replicas(seen: Replicas) -> None:
    replicas = [Replica(name, rank, max_ongoing_requests=99) for rank, name in enumerate("abc")]
    made = router()
    for key in KEYS[:50]:
        with seen.route(key) as route:
            first = await chosen(made, seen.session(route), *replicas)
            assert first == await chosen(made, key, *replicas), "the one that the key belongs to"
            assert seen.can_hedge(route)
            hedge = await chosen(made, seen.session(route), *replicas)
            assert [first, hedge] == list(route.sent.values())
            assert hedge == made._lookup_ranked_replicas(key)[1].unique_id


async def test_a_silent_replica_is_passed_over_until_it_answers_a_trial(seen: Replicas) -> None:
    replicas = [Replica(name, rank, max_ongoing_requests=99) for rank, name in enumerate("ab")]
    made = router()
    owner, other = await chosen(made, "key", *replicas), "ab"
    with seen.route("key") as route:
        call, hedge = seen.session(route), seen.session(route)
        await chosen(made, call, *replicas)
        other = await chosen(made, hedge, *replicas)
        seen.outrun(route, call, since=1.0, now=2.0)
    assert {await chosen(made, key, *replicas) for key in KEYS[:50]} == {other}
    with seen.route("another key", only=owner) as trial:
        session = seen.session(trial)
        assert await chosen(made, session, *replicas) == owner
        seen.answered(trial, session, now=3.0)
    assert await chosen(made, "key", *replicas) == owner


async def test_of_encoders_a_call_and_its_hedge_go_to_different_ones_too(seen: Replicas) -> None:
    replicas = [Replica(name, rank, max_ongoing_requests=99) for rank, name in enumerate("abcdef")]
    made = LoadRouter(deployment_id=DEPLOYMENT, handle_source=DeploymentHandleSource.REPLICA)
    for _ in range(50):
        with seen.route("") as route:
            pair = {await chosen(made, seen.session(route), *replicas) for _ in range(2)}
            assert pair == set(route.sent.values())
            assert len(pair) == 2
    assert {await chosen(made, "", *replicas) for _ in range(200)} == set("abcdef")
