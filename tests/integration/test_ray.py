"""Ray's behaviour that `deployments.ray` takes for granted, on a Ray of one node with one actor."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import ray

from deployments.ray.actors import placement
from deployments.ray.nodes import cpus, metrics_addresses, with_labels
from deployments.ray.objects import IN_PLASMA, settled
from serve_app.cli.drain_node import REPLICA, serving_on
from serve_app.cli.haproxy import LOOPBACK
from serve_app.cli.single_node import single_node

LABELS = {"sam3/pool": "true"}


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv(
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0"
        )  # on loopback, as serve_app.cli.ray_environment
        patch.setattr(
            "ray._private.ray_constants.ENABLE_RAY_CLUSTER", False
        )  # in this process, where it is read already
        with single_node():
            ray.init(
                address="local",
                num_cpus=2,
                labels=LABELS,
                object_store_memory=100 * 2**20,
                include_dashboard=False,
                log_to_driver=False,
                _node_ip_address=LOOPBACK,
            )
        yield
        ray.shutdown()


class Actor:
    """Says where it was started."""

    def node(self) -> str:
        return ray.get_runtime_context().get_node_id()


def started(**options: Any) -> Any:
    return ray.remote(Actor).options(max_restarts=-1, max_task_retries=0, **options).remote()


def test_the_table_of_nodes_says_what_is_asked_of_it() -> None:
    assert cpus() == (2.0,)
    ((host, port),) = metrics_addresses()
    assert host == LOOPBACK
    assert port > 0
    assert with_labels(LABELS) == with_labels({}) == [ray.get_runtime_context().get_node_id()]
    assert with_labels({"sam3/pool": "false"}) == []


@pytest.mark.parametrize("labels", [{}, LABELS])
def test_an_actor_is_started_where_it_is_to_be(labels: dict[str, str]) -> None:
    (node,) = with_labels(labels)
    assert ray.get(started(**placement(node, labels)).node.remote(), timeout=60) == node


@pytest.mark.parametrize("labels", [{}, LABELS])
def test_and_elsewhere_when_that_node_is_gone(labels: dict[str, str]) -> None:
    gone = "a" * 56
    (node,) = with_labels({})
    assert ray.get(started(**placement(gone, labels)).node.remote(), timeout=60) == node


def test_labels_hold_while_no_node_has_them() -> None:
    actor = started(**placement(None, {"sam3/pool": "false"}))
    waiting = actor.node.remote()
    assert ray.wait([waiting], timeout=1)[0] == []
    ray.kill(actor)


def test_serves_actors_are_found_by_their_node_and_name() -> None:
    (node,) = with_labels({})
    replica, other = started(name=f"{REPLICA}sam3#X#y"), started(name="other")
    ray.get([replica.node.remote(), other.node.remote()], timeout=60)
    assert serving_on(node) == [f"{REPLICA}sam3#X#y"]
    assert serving_on("a" * 56) == []


@ray.remote
def made(size: int) -> Any:
    if not size:
        raise ValueError("no")
    return np.zeros(size, np.uint8)


@pytest.mark.parametrize("size", [10, IN_PLASMA - 2048, IN_PLASMA + 1, 2**20])
async def test_an_objects_size_is_known_without_its_bytes(size: int) -> None:
    with ThreadPoolExecutor(1) as waiters:
        assert size <= await settled(made.remote(size), waiters) <= size + 2048


async def test_an_error_in_its_place_is_raised() -> None:
    with ThreadPoolExecutor(1) as waiters, pytest.raises(ValueError, match="no"):
        await settled(made.remote(0), waiters)
