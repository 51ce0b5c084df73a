"""Traces of requests that are parts of one request."""

from collections.abc import Sequence

from deployments.protocol import Trace

HITS = ("hot", "warm")
"""Cache tiers that spared a request an encode; with the others the image was encoded, or waited for."""


def merge(trace: Trace, parts: Sequence[Trace]) -> None:
    """Sum up in `trace` how its parts were served. Cached only if all of them were."""
    for part in parts:
        for stage, seconds in part.stages.items():
            trace.stages[stage] = trace.stages.get(stage, 0.0) + seconds
    tiers = [part.cache for part in parts]
    trace.cache = next((tier for tier in tiers if tier not in HITS), tiers[0] if tiers else None)
