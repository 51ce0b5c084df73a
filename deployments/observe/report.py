"""Reports through `ray.serve.metrics`, once a second what happened in between.

Calling Ray for every figure would cost a request little, but not the node: Ray (2.60) takes histograms as counts and
puts every single observation into its exposition anew, at the middle of its bucket, so that sums are wrong as well;
and a gauge that is not set again is gone after two of its intervals. So histograms travel as the counters that they
consist of (`deployments.observe.exposition` makes histograms of them again), and gauges are set every time.
"""

import logging
import threading
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from deployments.observe.metrics import Metrics

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
"""The shortest that Ray's own interval can be, so each of its reports finds every gauge set."""


class ServeMetrics(Metrics):
    """`Metrics` inside a replica or an actor; one per process.

    A gauge of two objects of this class in one process would be the last one's.
    """

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._told: dict[tuple[Any, ...], float] = {}
        """Values of counters when Ray last heard of them."""
        self._instruments: dict[str, Any] = {}
        threading.Thread(target=self._run, name="report-metrics", daemon=True).start()

    def report(self) -> None:
        """Hand over to Ray the counters' gains since the last time, and every gauge."""
        for family, sample in self.samples():
            if family.type == "gauge":
                self._instrument(family, sample).set(sample.value, tags=sample.labels)
                continue
            series = sample.name, *sample.labels.values()
            gained = sample.value - self._told.get(series, 0.0)
            if gained > 0:
                self._told[series] = sample.value
                self._instrument(family, sample).inc(gained, tags=sample.labels)

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._interval_s):
            try:
                self.report()
            except Exception:
                logger.exception("metrics cannot be reported")

    def _instrument(self, family: Metric, sample: Sample) -> Any:
        found = self._instruments.get(sample.name)
        if found is None:
            from ray.serve import metrics

            kind: Any = metrics.Gauge if family.type == "gauge" else metrics.Counter
            found = kind(sample.name, description=family.documentation, tag_keys=tuple(sample.labels))
            self._instruments[sample.name] = found
        return found
