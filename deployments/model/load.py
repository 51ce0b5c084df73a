"""The load that a replica with a model reports to the autoscaling policy (`deployments.autoscaling`)."""

from collections.abc import Sequence
from typing import Any

from deployments.autoscaling import BUSY, OLDEST, QUEUED
from deployments.model.batcher import Batcher
from deployments.model.thread import ModelThread


def report(batchers: Sequence[Batcher[Any, Any]], thread: ModelThread) -> dict[str, float]:
    """The load of a replica now."""
    return {
        QUEUED: float(sum(batcher.waiting_weight for batcher in batchers)),
        OLDEST: oldest_s(batchers),
        BUSY: thread.busy_share(),
    }


def oldest_s(batchers: Sequence[Batcher[Any, Any]]) -> float:
    """Seconds that the oldest item has waited in any of them."""
    return max((batcher.oldest_s for batcher in batchers), default=0.0)
