"""The steps of a replica's start and their seconds, from the replica's log."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deployments.model.loading import STARTED

_LINE = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) .*" + re.escape(STARTED).replace(r"%\.2f", r"(\d+\.\d+)")
)


@dataclass(frozen=True, slots=True)
class Start:
    """One replica's start. Times: `time.time()`; durations in seconds."""

    ready: float
    """The time when the model had been warmed up."""
    process_s: float
    """From the process's first moment: the interpreter, Ray, Serve and a replica's imports before the model."""
    imports_s: float
    """torch and the model's code."""
    weights_s: float
    warm_up_s: float

    @property
    def load_s(self) -> float:
        """The model's own load time, the same in any server: imports, weights and warm-up."""
        return self.imports_s + self.weights_s + self.warm_up_s

    def rows(self, asked: float, running: float) -> list[tuple[str, str]]:
        """The steps between the moment the replica was asked for and the one at which it was seen running, each with
        its time.

        Ray may have had an idle process at hand. Then nothing waited for the process, and its first seconds were
        before.
        """
        began = self.ready - self.load_s
        process_s = min(self.process_s, began - asked)
        steps = {
            "until Ray and Serve started a process": began - process_s - asked,
            "interpreter, Ray, Serve": process_s,
            "load time of its own: imports (torch, the model's code)": self.imports_s,
            "... weights": self.weights_s,
            "... warm-up": self.warm_up_s,
            "canary, and until Serve had seen it": running - self.ready,
            "all, from asked for to running": running - asked,
            "beyond its own load time": running - asked - self.load_s,
        }
        return [(f"start: {name}", f"{seconds:.1f} s") for name, seconds in steps.items()]


def starts(logs: Path, deployment: str) -> list[Start]:
    """The starts of a deployment's replicas, in the order in which they were ready. logs: Ray's directory."""
    return sorted(
        (found for file in logs.glob(f"serve/replica_*{deployment}*") for found in _in(file.read_text())),
        key=lambda start: start.ready,
    )


def _in(text: str) -> Iterator[Start]:
    for when, *seconds in _LINE.findall(text):
        yield Start(datetime.strptime(when, "%Y-%m-%d %H:%M:%S,%f").timestamp(), *map(float, seconds))
