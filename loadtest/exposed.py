"""What a running server's `/metrics` says."""

import time
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

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
    value, since = metric(url, name, **labels), time.monotonic()
    while time.monotonic() - since < quiet_s:
        time.sleep(0.5)
        now = metric(url, name, **labels)
        if now != value:
            value, since = now, time.monotonic()
    return value
