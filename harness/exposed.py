"""Figures read from a running server's `/metrics`."""

import math
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

T = TypeVar("T")
QUIET_S = 12.0
"""Longer than two of the intervals at which processes report their metrics."""


def metric(url: str, name: str, **labels: str) -> float:
    """The sum of a family's samples with these labels, over all processes."""
    with urlopen(f"{url}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def settled_metric(url: str, name: str, quiet_s: float = QUIET_S, **labels: str) -> float:
    """A counter, once it has stood still for longer than processes take to report."""
    return settled(lambda: metric(url, name, **labels), quiet_s)


def settled(
    look: Callable[[], T],
    quiet_s: float,
    patience_s: float = math.inf,
    awaited: Callable[[T], bool] = lambda _: True,
) -> T:
    """The value of `look`, once it has not changed for `quiet_s` and is awaited; after `patience_s`, its last value."""
    found = look()
    since = begin = time.monotonic()
    while (now := time.monotonic()) - begin < patience_s and (now - since < quiet_s or not awaited(found)):
        time.sleep(0.5)
        if (new := look()) != found:
            found, since = new, time.monotonic()
    return found
