"""The table that the drill of annotation tools prints. It measures; no time in it is asserted."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.figures import ms, table

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Driven:
    """A driven part of a tool. iou: the least with a drawn shape. clicks: seconds of two clicks on one image."""

    tool: str
    version: str
    what: str
    iou: float
    clicks: Sequence[float] = ()


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """A call's result, and its seconds."""
    began = time.perf_counter()
    result = call()
    return result, time.perf_counter() - began


def report(rows: Sequence[Driven]) -> str:
    """The rows as a Markdown table. The first click on an image encodes it, the second one refines its mask."""
    head = ("tool", "version", "what was really driven", "IoU", "first click", "second click")
    return table(
        head,
        [
            (
                row.tool,
                row.version,
                row.what,
                f"{row.iou:.3f}",
                *(map(ms, row.clicks) if row.clicks else "––"),
            )
            for row in rows
        ],
    )
