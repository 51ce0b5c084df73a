"""The load generator's record of each request, and figures over many of them."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from harness.figures import Latency, latency

_ENTRY = re.compile(r"([a-z]+)(?:;dur=([\d.]+))?(?:;desc=(\w+))?")


@dataclass(frozen=True)
class Record:
    """One request. Times in seconds since the load began."""

    kind: str
    due: float
    """The time at which it was to be sent; `sent` is later where the generator was late."""
    sent: float
    done: float
    status: int
    """0 where there was no answer."""
    error: str = ""
    """Empty where the answer was right."""
    bytes_out: int = 0
    cache: str = ""
    """hit or miss, where the answer says so."""
    stages: dict[str, float] = field(default_factory=dict)
    """Milliseconds by stage, from the answer's Server-Timing."""
    retry_after: bool = False
    """The answer has a header Retry-After."""

    @property
    def seconds(self) -> float:
        """Seconds from when it was due: a request that could not be sent in time has waited."""
        return self.done - self.due

    @property
    def ok(self) -> bool:
        """True if the right answer came."""
        return not self.error

    @property
    def refused(self) -> bool:
        """True for a request that was turned away as the contract says: see `is_refusal`."""
        return is_refusal(self.status, self.retry_after)


def is_refusal(status: int, retry_after: bool) -> bool:
    """True for an answer that turns a request away as the contract says: 503 with Retry-After."""
    return status == 503 and retry_after


@dataclass(frozen=True)
class Figures:
    """Figures over the requests of one kind, or of all."""

    requests: int
    refused: int
    failed: int
    """Neither refused nor answered rightly."""
    latency: Latency
    """Latency of the right answers, from when each was due."""
    stages: dict[str, float]
    """Median milliseconds by stage."""
    cache: dict[str, int]
    errors: dict[str, int]

    @property
    def answered(self) -> int:
        """Right answers."""
        return self.requests - self.refused - self.failed


def figures(records: Sequence[Record]) -> Figures:
    """Percentiles, stages and errors."""
    good = [record for record in records if record.ok]
    refused = sum(record.refused for record in records)
    stages = sorted({stage for record in good for stage in record.stages})
    return Figures(
        requests=len(records),
        refused=refused,
        failed=len(records) - len(good) - refused,
        latency=latency([record.seconds for record in good]),
        stages={
            stage: round(float(np.median([r.stages[stage] for r in good if stage in r.stages])), 2)
            for stage in stages
        },
        cache=dict(Counter(record.cache for record in good if record.cache)),
        errors=dict(Counter(record.error[:200] for record in records if record.error).most_common(5)),
    )


def by_kind(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by kind, in the order of their first appearance."""
    kinds: dict[str, list[Record]] = {}
    for record in records:
        kinds.setdefault(record.kind, []).append(record)
    return kinds


def server_timing(header: str) -> tuple[str, dict[str, float]]:
    """Cache and milliseconds by stage of a Server-Timing header."""
    cache, stages = "", {}
    for name, duration, description in _ENTRY.findall(header):
        if description:
            cache = description
        elif duration:
            stages[name] = float(duration)
    return cache, stages


def write(path: Path, records: Sequence[Record]) -> None:
    """Write the records as JSON."""
    path.write_text(json.dumps([asdict(record) for record in records]))


def read(path: Path) -> list[Record]:
    """The inverse of `write`."""
    return [Record(**fields) for fields in json.loads(path.read_text())]
