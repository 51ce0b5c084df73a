"""Waiting for what another process brings about."""

import time
from collections.abc import Callable

WAIT_S = 400.0
POLL_S = 0.1


def wait_until(
    condition: Callable[[], bool], seconds: float = WAIT_S, problem: Callable[[], str] = lambda: ""
) -> float:
    """Wait until the condition holds; returns the seconds that it took. Raises TimeoutError with the text of
    `problem`."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise TimeoutError(f"not within {seconds:g} s: {problem()}")
        time.sleep(POLL_S)
    return time.monotonic() - start
