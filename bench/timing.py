"""Measures durations of function calls, several functions in turns, and fits their growth."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from harness.figures import ms

Call = Callable[[], object]
LEAST = 5
"""Fewest calls of each function."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians over calls, in seconds. cpu: CPU time of the whole process, all threads together."""

    wall: float
    cpu: float
    calls: int

    def __str__(self) -> str:
        return ms(self.wall)


def side_by_side(calls: Mapping[str, Call], seconds: float) -> dict[str, Cost]:
    """Call the functions in turns, for about `seconds` in all, so that a disturbance of the machine affects all."""
    walls: dict[str, list[float]] = {name: [] for name in calls}
    cpus: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():  # the first call may load and compile, so it is not measured
        call()
        _synchronise()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(len(taken) for taken in walls.values()) < LEAST:
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            _synchronise()
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(time.process_time() - cpu)
    return {
        name: Cost(float(np.median(walls[name])), float(np.median(cpus[name])), len(walls[name]))
        for name in calls
    }


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The k of cost = c * size ** k that fits best, by least squares on logarithms. 1: proportional; 0: constant."""
    if len(sizes) < 2:
        return math.nan
    slope, _ = np.polyfit(np.log(sizes), np.log(costs), 1)
    return float(slope)


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
