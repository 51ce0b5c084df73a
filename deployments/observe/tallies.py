"""What one process has to report, summed up where it happens: cheap to add to, and small however busy it is.

Pure Python, for any thread. Who reports takes what has changed, every second or so.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from deployments.observe.metrics import Metric

Labels = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""
INFINITY = "+Inf"


@dataclass(frozen=True, slots=True)
class Change:
    """What to report of one series: the increase of a counter, the value of a gauge.

    A histogram is reported as the counters that make it up: `_bucket` (cumulative, by `le`), `_sum` and `_count`.
    """

    metric: Metric
    suffix: str
    labels: dict[str, str]
    value: float


class Tallies:
    """Counters, gauges and histograms by series."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: defaultdict[tuple[Metric, Labels], float] = defaultdict(float)
        self._gauges: dict[tuple[Metric, Labels], float] = {}
        self._histograms: dict[tuple[Metric, Labels], _Histogram] = {}

    def add(self, metric: Metric, value: float, labels: dict[str, str]) -> None:
        """Increase a counter."""
        key = (metric, _sorted(labels))
        with self._lock:
            self._counters[key] += value

    def set(self, metric: Metric, value: float, labels: dict[str, str]) -> None:
        """Set a gauge."""
        key = (metric, _sorted(labels))
        with self._lock:
            self._gauges[key] = value

    def observe(self, metric: Metric, value: float, labels: dict[str, str]) -> None:
        """Put one value into a histogram."""
        key = (metric, _sorted(labels))
        with self._lock:
            found = self._histograms.get(key)
            if found is None:
                found = self._histograms[key] = _Histogram([0] * (len(metric.boundaries) + 1))
            found.counts[bisect_left(metric.boundaries, value)] += 1
            found.total += value

    def take(self) -> list[Change]:
        """What counters and histograms have gained since the last time, and every gauge."""
        with self._lock:
            counters, self._counters = self._counters, defaultdict(float)
            histograms, self._histograms = self._histograms, {}
            gauges = dict(self._gauges)
        changes = [Change(metric, "", dict(labels), value) for (metric, labels), value in counters.items()]
        changes += [Change(metric, "", dict(labels), value) for (metric, labels), value in gauges.items()]
        for (metric, labels), gained in histograms.items():
            changes += _counters_of(metric, dict(labels), gained)
        return changes


@dataclass(slots=True)
class _Histogram:
    counts: list[int]
    """Observations by bucket, not cumulative; the last one is above every boundary."""
    total: float = 0.0


def _counters_of(metric: Metric, labels: dict[str, str], gained: _Histogram) -> Iterator[Change]:
    below = 0
    for boundary, count in zip((*metric.boundaries, None), gained.counts, strict=True):
        below += count
        le = INFINITY if boundary is None else str(boundary)
        yield Change(metric, "_bucket", {**labels, "le": le}, below)
    yield Change(metric, "_sum", labels, gained.total)
    yield Change(metric, "_count", labels, below)


def _sorted(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
