"""The figures of `sam3-serve top`: rates and quantiles between two scrapes of GET /metrics."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Scrape:
    """One exposition, and the time of its reading in seconds of any clock."""

    at: float
    samples: Mapping[str, Mapping[Labels, float]]
    """Values by sample name and labels."""

    @classmethod
    def read(cls, text: str, at: float) -> "Scrape":
        """Parse an exposition. Raises ValueError when it is none of this application."""
        found: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name][frozenset(sample.labels.items())] = sample.value
        if not any(name.startswith("sam3_") for name in found):
            raise ValueError("there are no figures of sam3-serve at this address")
        return cls(at, found)

    def by(self, name: str, label: str) -> dict[str, float]:
        """The values of a gauge, summed by one label."""
        found: defaultdict[str, float] = defaultdict(float)
        for labels, value in self.samples.get(name, {}).items():
            found[dict(labels).get(label, "")] += value
        return dict(found)


@dataclass(frozen=True, slots=True)
class Row:
    """A route or a stage: its rate and its seconds."""

    name: str
    per_s: float
    p50: float | None
    p99: float | None
    """Seconds; None without traffic."""
    now: float = 0.0
    """Requests being answered."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything on the screen. Rates are per second."""

    span_s: float
    """Seconds between the two scrapes."""
    requests_per_s: float
    failed_per_s: float
    routes: list[Row]
    stages: list[Row]
    processes: dict[str, float]
    targets: dict[str, float]
    """Target number of replicas, by deployment."""
    queued: dict[str, float]
    """Calls that wait for a replica, by deployment."""
    lookups: dict[str, float]
    encodes: dict[str, float]
    held_bytes: dict[str, float]
    held: dict[str, float]
    nodes: dict[str, float]
    gpus: dict[str, float]
    """Share of each GPU's memory in use."""


def figures(before: Scrape, now: Scrape) -> Figures:
    """The difference of two scrapes. The same scrape twice gives gauges, and rates of zero."""
    seconds = now.at - before.at
    gained = _Gained(before, now, seconds)
    statuses = gained.by("sam3_requests_total", "status")
    in_flight = now.by("sam3_in_flight", "route")
    used, free = now.by("ray_node_gram_used", "gpu"), now.by("ray_node_gram_available", "gpu")
    return Figures(
        span_s=seconds,
        requests_per_s=sum(statuses.values()),
        failed_per_s=sum(rate for status, rate in statuses.items() if status.startswith("5")),
        routes=gained.rows("sam3_request_seconds", "route", in_flight),
        stages=gained.rows("sam3_stage_seconds", "stage", {}),
        processes=now.by("sam3_processes", "part"),
        targets=now.by("ray_serve_autoscaling_target_replicas", "deployment"),
        queued=now.by("ray_serve_deployment_queued_queries", "deployment"),
        lookups=gained.by("sam3_cache_lookups_total", "tier"),
        encodes=gained.by("sam3_images_encoded_total", "cause"),
        held_bytes=now.by("sam3_pool_bytes", "tier"),
        held=now.by("sam3_pool_entries", "tier"),
        nodes=now.by("sam3_nodes", "state"),
        gpus={
            gpu: used[gpu] / (used[gpu] + free.get(gpu, 0.0))
            for gpu in used
            if used[gpu] + free.get(gpu, 0.0)
        },
    )


@dataclass(frozen=True, slots=True)
class _Gained:
    before: Scrape
    now: Scrape
    seconds: float

    def by(self, name: str, label: str, **only: str) -> dict[str, float]:
        """Increase per second by one label. A counter that fell has restarted from zero."""
        found: defaultdict[str, float] = defaultdict(float)
        earlier = self.before.samples.get(name, {})
        for labels, value in self.now.samples.get(name, {}).items():
            named = dict(labels)
            if all(named.get(key) == wanted for key, wanted in only.items()):
                last = earlier.get(labels, 0.0)
                gain = value - last if value >= last else value
                found[named.get(label, "")] += gain / self.seconds if self.seconds > 0 else 0.0
        return dict(found)

    def rows(self, histogram: str, label: str, now: Mapping[str, float]) -> list[Row]:
        """One row for each label value, the busiest first."""
        rates = self.by(f"{histogram}_count", label)
        rows = []
        for name, rate in rates.items():
            by_le = self.by(f"{histogram}_bucket", "le", **{label: name})
            buckets = sorted((float(le), below) for le, below in by_le.items())
            rows.append(Row(name, rate, quantile(0.5, buckets), quantile(0.99, buckets), now.get(name, 0.0)))
        return sorted(rows, key=lambda row: (-row.per_s, row.name))


def quantile(share: float, buckets: list[tuple[float, float]]) -> float | None:
    """The value below which `share` of the observations are, as Prometheus interpolates it.

    buckets: (upper boundary, number of observations up to it), ascending; the last is infinite. None without any.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    wanted = share * buckets[-1][1]
    lower, below = 0.0, 0.0
    for upper, count in buckets:
        if count >= wanted and count > below:
            return (
                lower if upper == INFINITY else lower + (upper - lower) * (wanted - below) / (count - below)
            )
        lower, below = upper, count
    return lower
