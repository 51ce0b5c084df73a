"""The one place that names metrics. Units are in the names; label values come from small sets.

Serve's deployments report through `ray.serve.metrics` (see `report`), Ray exports it on every node, and
`exposition` makes one answer of it, in which these names have the label `node`, and `deployment` where a replica
reported.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric as Family
from prometheus_client.samples import Sample

Kind = Literal["counter", "gauge", "histogram"]
Across = Literal["sum", "max"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name, its labels and, for a histogram, its bucket boundaries.

    across: how the gauges of several processes become one.
    """

    name: str
    description: str
    labels: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()
    across: Across = "sum"

    @property
    def kind(self) -> Kind:
        """A counter is named `..._total`; a histogram has boundaries."""
        if self.boundaries:
            return "histogram"
        return "counter" if self.name.endswith("_total") else "gauge"


SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


@dataclass(frozen=True, slots=True)
class _Names:
    requests: Metric = Metric("sam3_requests_total", "Requests answered.", ("route", "status", "model"))
    in_flight: Metric = Metric("sam3_in_flight", "Requests being answered now.", ("route",))
    request_seconds: Metric = Metric(
        "sam3_request_seconds",
        "Seconds from a request's first byte to its answer's last.",
        ("route", "model"),
        SECONDS,
    )
    http_bytes: Metric = Metric("sam3_http_bytes_total", "Bytes of bodies: in, out.", ("direction",))
    tenant_requests: Metric = Metric(
        "sam3_tenant_requests_total", "Requests of a known tenant, answered.", ("tenant", "status")
    )
    tenant_prompts: Metric = Metric("sam3_tenant_prompts_total", "Prompts that a tenant sent.", ("tenant",))
    tenant_work_seconds: Metric = Metric(
        "sam3_tenant_work_seconds_total",
        "Seconds of work for a tenant's requests, of all processes.",
        ("tenant",),
    )
    tenant_wait_seconds: Metric = Metric(
        "sam3_tenant_wait_seconds_total", "Seconds that a tenant's requests waited for its turn.", ("tenant",)
    )
    stage_seconds: Metric = Metric(
        "sam3_stage_seconds",
        "Seconds by stage: admission, decode, queue, encode, transfer, prompt, post.",
        ("stage",),
        SECONDS,
    )
    cache_lookups: Metric = Metric(
        "sam3_cache_lookups_total",
        "Requests by where their image was: hot, warm, cold, miss, joined.",
        ("tier", "model"),
    )
    images_encoded: Metric = Metric(
        "sam3_images_encoded_total",
        "Images encoded: new ones, again from their source, and frames of videos.",
        ("cause",),
    )
    evictions: Metric = Metric(
        "sam3_evictions_total",
        "Images that left a tier (hot, warm, cold): budget, idle, lost, deleted.",
        ("reason", "tier"),
    )
    pool_bytes: Metric = Metric("sam3_pool_bytes", "Bytes held: hot, warm, cold.", ("tier",))
    pool_entries: Metric = Metric("sam3_pool_entries", "Images held: hot, warm, cold.", ("tier",))
    pool_failovers: Metric = Metric(
        "sam3_pool_failovers_total", "Calls that a shard of the pool did not answer, and another one did."
    )
    store_seconds: Metric = Metric(
        "sam3_store_seconds", "Seconds of a round trip to the store.", ("operation",), SECONDS
    )
    store_errors: Metric = Metric(
        "sam3_store_errors_total", "Round trips to the store that failed.", ("operation",)
    )
    store_bytes: Metric = Metric(
        "sam3_store_bytes",
        "Bytes of image files in the store, by their tenant: the one that holds most, or another.",
        ("tenant_class",),
    )
    batch_size: Metric = Metric(
        "sam3_batch_size", "Images or prompts in one call of the model.", ("stage",), SIZES
    )
    out_of_memory: Metric = Metric(
        "sam3_out_of_memory_total",
        "Batches that a GPU had too little memory for: encoder, decoder.",
        ("part",),
    )
    cuda_graphs: Metric = Metric(
        "sam3_cuda_graphs",
        "CUDA graphs of the model's passes: made, failed (their shapes run without one).",
        ("part", "state"),
    )
    queue_age: Metric = Metric(
        "sam3_queue_age_seconds",
        "Seconds that the oldest image or prompt has waited for the model by now: encode, prompt.",
        ("stage",),
        across="max",
    )
    model_load_seconds: Metric = Metric(
        "sam3_model_load_seconds", "Seconds to load the model and warm it up.", across="max"
    )
    processes: Metric = Metric(
        "sam3_processes", "Processes ready to work: ingress, encoder, decoder, pool, workflows.", ("part",)
    )
    hedges: Metric = Metric(
        "sam3_hedges_total",
        "Calls that took far too long and were sent to another decoder or encoder too: won, where that answered first.",
        ("part", "outcome", "target"),
    )
    silent_replicas: Metric = Metric(
        "sam3_silent_replicas",
        "Replicas that answer nothing, so that callers pass over them: decoder, encoder.",
        ("part", "target"),
        across="max",
    )
    label_images: Metric = Metric(
        "sam3_label_images_total",
        "Images that `sam3-serve label` is done with: labelled, unreadable.",
        ("outcome",),
    )
    label_objects: Metric = Metric(
        "sam3_label_objects_total", "Objects that `sam3-serve label` found, by their class.", ("class_name",)
    )
    label_model_seconds: Metric = Metric(
        "sam3_label_model_seconds_total",
        "Seconds that models worked for `sam3-serve label`, of all models together.",
    )
    label_left: Metric = Metric("sam3_label_left", "Images that `sam3-serve label` has still to label.")
    video_frames: Metric = Metric(
        "sam3_video_frames_total",
        "Frames of videos, answered: tracked, repeated (from the store), prompted (again, with prompts).",
        ("outcome",),
    )
    video_resumed: Metric = Metric(
        "sam3_video_resumed_total",
        "Where the tracker's state of a session was: hot (the decoder), warm (the object store), masks (lost: begun "
        "anew by the last masks).",
        ("tier",),
    )
    video_sessions: Metric = Metric("sam3_video_sessions", "Sessions of videos in the store.")
    video_bytes: Metric = Metric(
        "sam3_video_bytes",
        "Bytes of videos' sessions: hot (decoders), warm (the object store), cold (the store).",
        ("tier",),
    )
    nodes: Metric = Metric("sam3_nodes", "Nodes asked for their figures: answered, silent.", ("state",))


NAMES = _Names()


class Metrics:
    """The figures of a process, in a registry of its own. For any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._families: dict[str, Any] = {}
        self._series: dict[tuple[Any, ...], Any] = {}
        """A family's part by the labels it was asked for with: prometheus_client takes longer to find it."""
        self._making = threading.Lock()

    def add(self, metric: Metric, value: float = 1, **labels: str) -> None:
        """Increase a counter."""
        self._of(metric, labels).inc(value)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._of(metric, labels).set(value)

    def follow(self, metric: Metric, read: Callable[[], float], **labels: str) -> None:
        """Have a gauge be what `read` gives, in the thread that collects, each time it does."""
        self._of(metric, labels).set_function(read)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put one value into a histogram."""
        self._of(metric, labels).observe(value)

    @property
    def values(self) -> dict[str, float]:
        """Each series as `name{labels}` and its value; of a histogram just the count."""
        found = {}
        for _, sample in self.samples():
            if not sample.name.endswith(("_bucket", "_sum")):
                inner = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{inner}}}" if inner else sample.name] = sample.value
        return found

    def samples(self) -> Iterator[tuple[Family, Sample]]:
        """All series. A histogram's are the counters that it consists of: `_bucket`, `_sum`, `_count`."""
        for family in self.registry.collect():
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    yield family, sample

    def _of(self, metric: Metric, labels: dict[str, str]) -> Any:
        key = metric.name, *labels.items()
        return self._series.get(key) or self._make(metric, labels, key)

    def _make(self, metric: Metric, labels: dict[str, str], key: tuple[Any, ...]) -> Any:
        with self._making:
            family = self._families.get(metric.name)
            if family is None:
                buckets = {"buckets": metric.boundaries} if metric.boundaries else {}
                family = _FAMILIES[metric.kind](
                    metric.name, metric.description, metric.labels, registry=self.registry, **buckets
                )
                self._families[metric.name] = family
            self._series[key] = family.labels(**labels) if metric.labels else family
            return self._series[key]


_FAMILIES: dict[Kind, Any] = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}
