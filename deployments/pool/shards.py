"""The actors that the pool is made of: found, or made where they do not exist yet."""

from contextlib import suppress
from itertools import count
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from deployments.config import PoolConfig
from deployments.pool.actor import PoolShard
from deployments.pool.peer import NAMESPACE, shard_name

CONCURRENCY = 4096
"""Calls that one shard holds at once; most of them wait for an encode."""
NODE_ID = "ray.io/node-id"
"""A label that Ray gives to every node."""


def pool_shards(config: PoolConfig) -> list[Any]:
    """Handles of all shards, neighbours on different nodes where there are several that may hold them."""
    labels = dict(config.nodes)
    alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = sorted(node["NodeID"] for node in alive if labels.items() <= node["Labels"].items())
    shards: list[Any] = [
        ray.remote(PoolShard)
        .options(
            name=shard_name(config.app, shard),
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_task_retries=0,  # the caller knows where else to ask
            max_concurrency=CONCURRENCY,
            num_cpus=0,
            memory=2**20,  # without any resource Ray ignores an affinity
            **_placement(nodes[shard % len(nodes)] if nodes else None, labels),
        )
        .remote(config, shard)
        for shard in range(config.shards)
    ]
    for actor in shards:  # one that is older than this deployment has other limits
        actor.configure.remote(config)
    _end_those_beyond(config)
    return shards


def _end_those_beyond(config: PoolConfig) -> None:
    """A deployment with fewer shards leaves none of the old ones behind, holding images."""
    with suppress(ValueError):
        for shard in count(config.shards):
            ray.kill(ray.get_actor(shard_name(config.app, shard), NAMESPACE))


def _placement(node: str | None, labels: dict[str, str]) -> dict[str, Any]:
    """A node, or another one that may hold shards when it is gone. None: there is none yet."""
    if node is None:
        return {"label_selector": labels}
    if not labels:
        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True)}
    # Beside a selector of labels, Ray ignores an affinity (2.60).
    return {"label_selector": {**labels, NODE_ID: node}, "fallback_strategy": [{"label_selector": labels}]}
