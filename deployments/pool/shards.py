"""The actors that the pool is made of: found, or made where they do not exist yet."""

from contextlib import suppress
from itertools import count
from typing import Any

import ray

from deployments.config import PoolConfig
from deployments.pool.actor import PoolShard
from deployments.ray.actors import placement
from deployments.ray.nodes import with_labels

NAMESPACE = "sam3"
CONCURRENCY = 4096
"""Calls that one shard holds at once; most of them wait for an encode."""


def pool_shards(config: PoolConfig) -> list[Any]:
    """Handles of all shards, neighbours on different nodes where there are several that may hold them."""
    labels = dict(config.nodes)
    nodes = with_labels(labels)
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
            **placement(nodes[shard % len(nodes)] if nodes else None, labels),
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


def shard_name(app: str, shard: int) -> str:
    """The actor's name in NAMESPACE."""
    return f"embedding-pool:{app}:{shard}"
