"""Counts what a run has found, and how fast; tells a Prometheus where one watches."""

import time
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from deployments.observe.metrics import NAMES, Metrics


class Tally:
    """The progress of a run. total: images to label. metrics: told of each table."""

    def __init__(
        self, total: int, metrics: Metrics | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total, self.images, self.errors = total, 0, 0
        self.objects: Counter[str] = Counter()
        self._metrics = metrics or Metrics()
        self._clock = clock
        self._worked = 0.0
        self._first: tuple[float, int, float] | None = None
        self._metrics.set(NAMES.label_left, total)

    def add(self, table: pa.Table) -> None:
        """Count a table of `rows.LABELLED`."""
        errors = len(table) - table["error"].null_count
        found = Counter(pc.struct_field(pc.list_flatten(table["objects"]), "class").to_pylist())
        worked = pc.sum(table["model_s"]).as_py() or 0.0
        self.images += len(table)
        self.errors += errors
        self.objects.update(found)
        self._worked += worked
        if self._first is None:  # the model was loaded before
            self._first = (self._clock(), self.images, self._worked)
        self._metrics.add(NAMES.label_images, len(table) - errors, outcome="labelled")
        self._metrics.add(NAMES.label_images, errors, outcome="unreadable")
        self._metrics.add(NAMES.label_model_seconds, worked)
        self._metrics.set(NAMES.label_left, self.total - self.images)
        for name, count in found.items():
            self._metrics.add(NAMES.label_objects, count, class_name=name)

    @property
    def rate(self) -> float:
        """Images per second since the first ones; 0 while nothing is known. Tables wait for each other on their way
        here, so nothing is known for as long as the model worked on the first ones."""
        return self._since_first(1, self.images)

    @property
    def busy(self) -> float:
        """How many models were at work, on average, since the first images; 0 while nothing is known."""
        return self._since_first(2, self._worked)

    def _since_first(self, place: int, now: float) -> float:
        if self._first is None or (seconds := self._clock() - self._first[0]) <= self._first[2]:
            return 0.0
        return (now - self._first[place]) / seconds

    def line(self) -> str:
        """The progress in one line."""
        if not self.images:
            return f"loading the model; {self.total} images to label"
        parts = [f"{self.images} of {self.total} images"]
        if self.rate:
            left = (self.total - self.images) / self.rate
            parts.append(f"{self.rate:.1f} images/s, {duration(left)} left")
        if self.busy:
            parts.append(f"{self.busy:.1f} models busy")
        if found := ", ".join(f"{name} {count}" for name, count in self.objects.most_common(5)):
            parts.append(found + (", ..." if len(self.objects) > 5 else ""))
        if self.errors:
            parts.append(f"{self.errors} could not be read")
        return "; ".join(parts)


def duration(seconds: float) -> str:
    """A time in one or two units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def counted(count: int, one: str, many: str = "") -> str:
    """A number of things: `1 class`, `2 classes`. many: their name; without it, `one` and an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"
