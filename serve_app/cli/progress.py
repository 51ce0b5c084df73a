"""Shows the progress of `sam3-serve up`: one changing line on a terminal, one line for each step in a log."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console


class Progress(Protocol):
    """A function that shows the current step."""

    def __call__(self, text: str) -> None:
        """Show the current step."""
        ...


@contextmanager
def progress(console: Console, first: str) -> Iterator[Progress]:
    """Show steps until the end of the block. An empty text removes the changing line."""
    if not console.is_terminal:
        yield _lines(console, first)
        return
    with console.status(first) as status:

        def update(text: str) -> None:
            status.update(text) if text else status.stop()

        yield update


def _lines(console: Console, first: str) -> Progress:
    """Print each text that differs from the one before."""
    last = ""

    def show(text: str) -> None:
        nonlocal last
        if text and text != last:
            console.print(text, markup=False, soft_wrap=True)
        last = text

    show(first)
    return show
