"""The nodes of this process's Ray cluster that count as alive, from a table whose keys Ray does not document."""

from collections.abc import Mapping
from typing import Any

import ray


def metrics_addresses() -> list[tuple[str, int]]:
    """Host and port where each node exports its metrics. Blocks."""
    return [(node["NodeManagerAddress"], node["MetricsExportPort"]) for node in _alive()]


def cpus() -> tuple[float, ...]:
    """The CPUs of each node."""
    return tuple(node["Resources"].get("CPU", 0.0) for node in _alive())


def with_labels(labels: Mapping[str, str]) -> list[str]:
    """The ids of nodes that have all of these labels, in order."""
    return sorted(node["NodeID"] for node in _alive() if labels.items() <= node["Labels"].items())


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]
