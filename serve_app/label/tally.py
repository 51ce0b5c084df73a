"""Counts what a run has found, and how fast."""

import time
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc


class Tally:
    """The progress of a run. total: images to label."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.images, self.errors = total, 0, 0
        self.objects: Counter[str] = Counter()
        self._clock = clock
        self._first: tuple[float, int] | None = None

    def add(self, table: pa.Table) -> None:
        """Count a table of `rows.LABELLED`."""
        self.images += len(table)
        self.errors += len(table) - table["error"].null_count
        self.objects.update(pc.struct_field(pc.list_flatten(table["objects"]), "class").to_pylist())
        if self._first is None:  # the model was loaded before
            self._first = (self._clock(), self.images)

    @property
    def rate(self) -> float:
        """Images per second since the first ones; 0 while nothing is known."""
        if self._first is None or self._clock() <= self._first[0]:
            return 0.0
        return (self.images - self._first[1]) / (self._clock() - self._first[0])

    def line(self) -> str:
        """The progress in one line."""
        if not self.images:
            return f"loading the model; {self.total} images to label"
        parts = [f"{self.images} of {self.total} images"]
        if self.rate:
            left = (self.total - self.images) / self.rate
            parts.append(f"{self.rate:.1f} images/s, {duration(left)} left")
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
