"""The one place that names metrics. Units are in the names; label values come from small fixed sets.

Serve's deployments report through `ray.serve.metrics`, which Ray exports on every node with the prefix
`ray_`.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name, its labels and, for a histogram, its bucket boundaries."""

    name: str
    description: str
    labels: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()


SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


@dataclass(frozen=True, slots=True)
class _Names:
    requests: Metric = Metric("sam3_requests_total", "Requests answered.", ("route", "status"))
    in_flight: Metric = Metric("sam3_in_flight", "Requests being answered now.", ("route",))
    stage_seconds: Metric = Metric(
        "sam3_stage_seconds",
        "Seconds by stage: decode, queue, encode, transfer, prompt, post.",
        ("stage",),
        SECONDS,
    )
    cache_lookups: Metric = Metric(
        "sam3_cache_lookups_total",
        "Requests by where their image was: hot, warm, cold, miss, joined.",
        ("tier",),
    )
    images_encoded: Metric = Metric(
        "sam3_images_encoded_total", "Images encoded: new ones, and again from their source.", ("cause",)
    )
    evictions: Metric = Metric(
        "sam3_evictions_total", "Embeddings dropped: budget, idle, lost, deleted.", ("reason",)
    )
    pool_bytes: Metric = Metric("sam3_pool_bytes", "Bytes held.", ("tier",))
    pool_entries: Metric = Metric("sam3_pool_entries", "Images held.", ("tier",))
    batch_size: Metric = Metric(
        "sam3_batch_size", "Images or prompts in one call of the model.", ("stage",), SIZES
    )
    model_load_seconds: Metric = Metric(
        "sam3_model_load_seconds", "Seconds to load the model and warm it up."
    )


NAMES = _Names()


class Metrics(Protocol):
    """Where figures are reported to."""

    def add(self, metric: Metric, value: float = 1, **labels: str) -> None:
        """Increase a counter."""
        ...

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put one value into a histogram."""
        ...


class LocalMetrics:
    """Keeps the figures in this process, for tests and for use without Ray."""

    def __init__(self) -> None:
        self.values: defaultdict[str, float] = defaultdict(float)

    def add(self, metric: Metric, value: float = 1, **labels: str) -> None:
        """Increase a counter."""
        self.values[_series(metric, labels)] += value

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        self.values[_series(metric, labels)] = value

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Count an observation under `<name>_count`."""
        self.values[_series(metric, labels, "_count")] += 1


class ServeMetrics:
    """Reports through `ray.serve.metrics`. Instruments are made when first used, inside the replica."""

    def __init__(self) -> None:
        self._instruments: dict[str, Any] = {}

    def add(self, metric: Metric, value: float = 1, **labels: str) -> None:
        """Increase a counter."""
        self._instrument("Counter", metric).inc(value, tags=labels)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._instrument("Gauge", metric).set(value, tags=labels)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put one value into a histogram."""
        self._instrument("Histogram", metric).observe(value, tags=labels)

    def _instrument(self, kind: str, metric: Metric) -> Any:
        found = self._instruments.get(metric.name)
        if found is None:
            from ray.serve import metrics

            extra = {"boundaries": list(metric.boundaries)} if kind == "Histogram" else {}
            found = getattr(metrics, kind)(
                metric.name, description=metric.description, tag_keys=metric.labels, **extra
            )
            self._instruments[metric.name] = found
        return found


def _series(metric: Metric, labels: dict[str, str], suffix: str = "") -> str:
    inner = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{metric.name}{suffix}{{{inner}}}" if inner else metric.name + suffix
