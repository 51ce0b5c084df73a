"""All nodes' metrics as one Prometheus exposition, the answer of `GET /metrics` of the ingress.

Ray exports on each node the figures that its processes have reported, with the prefix `ray_` and labels of processes,
sessions and versions. Here a family of this application has its own name back and just the labels that
`deployments.observe.metrics` gives it, besides `node` and, from a replica, `deployment`; samples that differ in other
labels are one. A node's counters outlive its processes, so that sums by node only grow; a node that is gone takes its
series with it, which `rate()` takes as the end of a series and not as a reset.
"""

import re
from collections.abc import Iterable
from dataclasses import fields

from prometheus_client.core import Metric as Family
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from deployments.observe.metrics import NAMES, Across, Metric
from deployments.ray.metrics import PREFIX, RAYS, RayMetric, node_of

OURS: dict[str, Metric] = {
    metric.name: metric for metric in (getattr(NAMES, field.name) for field in fields(NAMES))
}
_PART = re.compile(r"(_bucket|_sum|_count)_total$")
_RAYS = "|".join(ray.name for ray in RAYS)
_WANTED = re.compile(rf"(?:# (?:HELP|TYPE) )?(?:{PREFIX}sam3_|(?:{_RAYS})[ {{])")
_BY_RAY_NAME = {ray.name: ray for ray in RAYS}

Labels = tuple[tuple[str, str], ...]


class Merged:
    """One exposition out of several. Feed it texts; then it is what `generate_latest` takes for a registry."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, str]] = {}
        """Name -> type, text of HELP."""
        self._samples: dict[str, dict[tuple[str, Labels], float]] = {}
        """Family -> (sample's name, labels) -> value."""

    def put(self, metric: Metric, value: float, **labels: str) -> None:
        """One sample of a gauge of ours."""
        self._add(metric.name, metric.kind, metric.description, metric.name, labels, value, metric.across)

    def read(self, text: str) -> None:
        """Take the wanted families of one node's exposition. Raises ValueError for text that is no exposition."""
        lines = [line for line in text.splitlines() if _WANTED.match(line)]
        for family in list(text_string_to_metric_families("\n".join(lines) + "\n")):
            for sample in family.samples:
                ray = _BY_RAY_NAME.get(sample.name)
                if ray is not None:
                    labels = _labels(sample.labels, ray)
                    self._add(
                        ray.name,
                        family.type,
                        family.documentation,
                        ray.name,
                        labels,
                        sample.value,
                        ray.across,
                    )
                else:
                    self._read_ours(sample.name.removeprefix(PREFIX), sample.labels, sample.value)

    def _read_ours(self, name: str, labels: dict[str, str], value: float) -> None:
        part = _PART.search(name)
        base = name[: part.start()] if part else name
        metric = OURS.get(base)
        if metric is None or (metric.kind == "histogram") != bool(part):
            return  # of a newer or older version of this application
        kept = {"node": node_of(labels)}
        for label in (*metric.labels, "deployment", "le"):
            if labels.get(label):
                kept[label] = labels[label]
        sample = base + part[1] if part else name
        self._add(base, metric.kind, metric.description, sample, kept, value, metric.across)
        if sample.endswith("_count"):  # buckets that are still empty were not reported
            for boundary in metric.boundaries:
                le = {"le": str(boundary)}
                self._add(
                    base, metric.kind, metric.description, base + "_bucket", kept | le, 0.0, metric.across
                )

    def _add(
        self,
        family: str,
        kind: str,
        text: str,
        name: str,
        labels: dict[str, str],
        value: float,
        across: Across,
    ) -> None:
        self._families.setdefault(family, (kind, text))
        samples = self._samples.setdefault(family, {})
        key = (name, tuple(sorted(labels.items())))
        if across == "max" and key in samples:
            samples[key] = max(samples[key], value)
        else:
            samples[key] = samples.get(key, 0.0) + value

    def collect(self) -> Iterable[Family]:
        """The families, each once, in the order of their names."""
        for name, (kind, text) in sorted(self._families.items()):
            family = Family(name.removesuffix("_total") if kind == "counter" else name, text, kind)
            for (sample, labels), value in sorted(self._samples[name].items(), key=_in_order):
                family.add_sample(sample, dict(labels), value)
            yield family

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self)


def _labels(labels: dict[str, str], ray: RayMetric) -> dict[str, str]:
    kept = {ours: labels[theirs] for theirs, ours in ray.labels if labels.get(theirs)}
    return {**kept, "node": node_of(labels)}


def _in_order(item: tuple[tuple[str, Labels], float]) -> tuple[Labels, str, float]:
    """Series together, and a histogram's buckets by their boundaries, as Prometheus wants them."""
    (sample, labels), _ = item
    le = dict(labels).get("le")
    series = tuple(label for label in labels if label[0] != "le")
    return series, sample, float(le) if le else 0.0
