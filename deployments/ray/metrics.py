"""Names and labels in Ray's own exposition of a node that `deployments.observe.exposition` reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PREFIX = "ray_"
"""Beginning of every family's name, the application's included."""


@dataclass(frozen=True, slots=True)
class RayMetric:
    """A family of Ray's own that is worth having beside ours, under Ray's name and with the label `node`.

    labels: further labels that are kept, Ray's name of each and its name here. across: the way to join samples that
    differ in nothing else.
    """

    name: str
    labels: tuple[tuple[str, str], ...] = ()
    across: Literal["sum", "max"] = "sum"


_DEPLOYMENT = (("deployment", "deployment"),)
_GPU = (("GpuIndex", "gpu"),)

RAYS = (
    RayMetric("ray_serve_deployment_queued_queries", _DEPLOYMENT),
    RayMetric("ray_serve_num_ongoing_requests_at_replicas", _DEPLOYMENT),
    RayMetric("ray_serve_deployment_replica_starts_total", _DEPLOYMENT),
    RayMetric("ray_serve_autoscaling_target_replicas", _DEPLOYMENT, "max"),
    RayMetric("ray_object_store_used_memory"),
    RayMetric("ray_object_store_available_memory"),
    RayMetric("ray_spill_manager_objects_bytes", (("State", "state"),)),
    RayMetric("ray_node_cpu_utilization", across="max"),
    RayMetric("ray_node_mem_used", across="max"),
    RayMetric("ray_node_mem_available", across="max"),
    RayMetric("ray_node_gpus_utilization", _GPU, "max"),
    RayMetric("ray_node_gram_used", _GPU, "max"),
    RayMetric("ray_node_gram_available", _GPU, "max"),
)
"""Serve's and Ray's own figures that dashboards and alerts need. The rest is on the nodes' own ports."""


def node_of(labels: Mapping[str, str]) -> str:
    """The address of the node that a sample is of."""
    return labels.get("NodeAddress") or labels.get("ip", "")
