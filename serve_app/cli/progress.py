"""Shows the progress of a command: one changing line on a terminal, one line for each step in a log."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

Progress = Callable[[str], None]
"""Shows the current step."""


@contextmanager
def progress(console: Console, first: str, *, every_s: float = 0.0) -> Iterator[Progress]:
    """Show steps until the end of the block. An empty text removes the changing line. every_s: least seconds between
    the lines of a log, after the first; steps between them are not shown."""
    if not console.is_terminal:
        yield _lines(console, first, every_s)
        return
    with console.status(first) as status:

        def update(text: str) -> None:
            status.update(text) if text else status.stop()

        yield update


def _lines(console: Console, first: str, every_s: float) -> Progress:
    """Print each text that differs from the one before, at most one each `every_s`."""
    last, at = "", -math.inf

    def show(text: str) -> None:
        nonlocal last, at
        if time.monotonic() - at < every_s:
            return
        at = time.monotonic()
        if text and text != last:
            console.print(text, markup=False, soft_wrap=True)
        last = text

    show(first)
    at = -math.inf
    return show
