"""All nodes' metrics as one Prometheus exposition: what `GET /metrics` of the ingress answers.

Ray exports on each node what its processes reported, every few seconds, with the prefix `ray_`. Here the
families of this application lose the prefix; Serve's own stay as they are; Ray's others are left to a scrape
of the nodes.
"""

import asyncio
from collections.abc import Iterable
from typing import Any
from urllib.request import urlopen

import ray
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

OURS = "ray_sam3_"
SERVES = "ray_serve_"
TIMEOUT_S = 5.0


async def merged_exposition() -> bytes:
    """The exposition of all nodes that answer in time, in Prometheus' text format."""
    texts = await asyncio.to_thread(_all_nodes)
    return await asyncio.to_thread(merge, texts)


def merge(expositions: Iterable[str]) -> bytes:
    """One exposition of several: each family once, with the samples of all."""
    families: dict[str, Metric] = {}
    for text in expositions:
        for family in text_string_to_metric_families(text):
            if not family.name.startswith((OURS, SERVES)):
                continue
            name = _ours(family.name)
            merged = families.setdefault(name, Metric(name, family.documentation, family.type))
            merged.samples += [sample._replace(name=_ours(sample.name)) for sample in family.samples]
    return generate_latest(_Families(families.values()))


class _Families:
    """What `generate_latest` takes for a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _ours(name: str) -> str:
    return name.removeprefix("ray_") if name.startswith(OURS) else name


def _all_nodes() -> list[str]:
    nodes: list[dict[str, Any]] = ray.nodes()
    addresses = [(node["NodeManagerAddress"], node["MetricsExportPort"]) for node in nodes if node["Alive"]]
    found = []
    for host, port in addresses:
        try:
            with urlopen(f"http://{host}:{port}/metrics", timeout=TIMEOUT_S) as response:
                found.append(response.read().decode())
        except OSError:
            continue  # a node that is going away takes its figures with it
    return found
