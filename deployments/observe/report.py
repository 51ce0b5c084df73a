"""Reports through `ray.serve.metrics`, once a second what happened in between.

Calling Ray for every figure would cost a request little, but not the node: Ray (2.60) takes histograms as counts and
puts every single observation into its exposition anew, at the middle of its bucket, so that sums are wrong as well;
and a gauge that is not set again is gone after two of its intervals. So histograms travel as the counters that they
consist of (`deployments.observe.exposition` makes histograms of them again), and gauges are set every time.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from deployments.observe.metrics import Metric
from deployments.observe.tallies import Change, Tallies

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
"""The shortest that Ray's own interval can be, so each of its reports finds every gauge set."""


class ServeMetrics:
    """`deployments.observe.metrics.Metrics` inside a replica or an actor; one per process.

    A gauge of two objects of this class in one process would be the last one's.
    """

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._tallies = Tallies()
        self._followed: list[tuple[Metric, dict[str, str], Callable[[], float]]] = []
        self._instruments: dict[str, Any] = {}
        self._reporter: threading.Thread | None = None
        self._starting = threading.Lock()

    def add(self, metric: Metric, value: float = 1, **labels: str) -> None:
        """Increase a counter."""
        self._tallies.add(metric, value, labels)
        self._report_regularly()

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._tallies.set(metric, value, labels)
        self._report_regularly()

    def follow(self, metric: Metric, read: Callable[[], float], **labels: str) -> None:
        """Set a gauge to what `read` gives, in the thread that reports, before each report."""
        self._followed.append((metric, labels, read))
        self._report_regularly()

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put one value into a histogram."""
        self._tallies.observe(metric, value, labels)
        self._report_regularly()

    def report(self) -> None:
        """Hand over to Ray what has changed."""
        for metric, labels, read in tuple(self._followed):
            self._tallies.set(metric, read(), labels)
        for change in self._tallies.take():
            instrument = self._instrument(change)
            if change.metric.kind == "gauge":
                instrument.set(change.value, tags=change.labels)
            elif change.value > 0:
                instrument.inc(change.value, tags=change.labels)

    def _report_regularly(self) -> None:
        if self._reporter is None:
            with self._starting:
                if self._reporter is None:
                    self._reporter = threading.Thread(target=self._run, name="report-metrics", daemon=True)
                    self._reporter.start()

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._interval_s):
            try:
                self.report()
            except Exception:
                logger.exception("metrics cannot be reported")

    def _instrument(self, change: Change) -> Any:
        name = change.metric.name + change.suffix
        found = self._instruments.get(name)
        if found is None:
            from ray.serve import metrics

            kind: Any = metrics.Gauge if change.metric.kind == "gauge" else metrics.Counter
            labels = (*change.metric.labels, "le") if change.suffix == "_bucket" else change.metric.labels
            found = kind(name, description=change.metric.description, tag_keys=labels)
            self._instruments[name] = found
        return found
