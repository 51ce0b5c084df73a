"""Actors that outlive the application: where Ray starts them."""

from typing import Any

from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

NODE_ID = "ray.io/node-id"
"""A label that Ray gives to every node."""
NOTHING = {"num_cpus": 0, "memory": 2**20}
"""The resources that such an actor takes of its node. An actor without any would have its affinity ignored (Ray
2.60)."""


def placement(node: str | None, labels: dict[str, str]) -> dict[str, Any]:
    """Options of an actor: a node, or another one with these labels when it is gone. None: there is none yet."""
    if node is None:
        return {**NOTHING, "label_selector": labels}
    if not labels:
        return {**NOTHING, "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True)}
    # Beside a selector of labels, Ray ignores an affinity (2.60).
    selector = {**labels, NODE_ID: node}
    return {**NOTHING, "label_selector": selector, "fallback_strategy": [{"label_selector": labels}]}
