"""Random arrival times of requests, and random choices of images."""

import random
from collections.abc import Iterator, Sequence
from itertools import accumulate


def poisson(rate: float, seconds: float, rng: random.Random) -> Iterator[float]:
    """Arrival times, from 0 to `seconds`, of a Poisson process with `rate` arrivals per second."""
    due = rng.expovariate(rate)
    while due < seconds:
        yield due
        due += rng.expovariate(rate)


class Zipf:
    """Draws from 0..count-1, number k with a probability proportional to 1 / (k + 1) ** exponent."""

    def __init__(self, count: int, exponent: float = 1.0) -> None:
        self._numbers = range(count)
        self._weights: Sequence[float] = list(accumulate((k + 1) ** -exponent for k in self._numbers))

    def draw(self, rng: random.Random) -> int:
        """One number."""
        return rng.choices(self._numbers, cum_weights=self._weights)[0]
