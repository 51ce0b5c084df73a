"""Durations into figures, and figures into the tables that benchmarks print."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of a series of durations, in seconds; NaN where there is none."""

    count: int
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


def latency(seconds: Sequence[float]) -> Latency:
    """Percentiles, linearly interpolated as numpy does."""
    if not seconds:
        nan = float("nan")
        return Latency(0, nan, nan, nan, nan, nan)
    p50, p90, p95, p99 = (float(value) for value in np.percentile(seconds, (50, 90, 95, 99)))
    return Latency(len(seconds), p50, p90, p95, p99, max(seconds))


def ms(seconds: float) -> str:
    """Milliseconds with three significant digits."""
    return f"{float(f'{seconds * 1000:.3g}'):g} ms"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table with aligned columns, for a terminal and for a document."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])
