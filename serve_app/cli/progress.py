"""How far `sam3-serve up` is: a line that changes on a terminal, a line for each step in a log."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console


class Progress(Protocol):
    """Told about each step."""

    def __call__(self, text: str) -> None:
        """Show the step that is being done now."""
        ...


@contextmanager
def progress(console: Console, first: str) -> Iterator[Progress]:
    """Show steps until the end of the block. An empty text takes the changing line away."""
    if not console.is_terminal:
        yield _lines(console, first)
        return
    with console.status(first) as status:

        def update(text: str) -> None:
            status.update(text) if text else status.stop()

        yield update


def _lines(console: Console, first: str) -> Progress:
    """Print each text once, when it differs from the one before."""
    last = ""

    def show(text: str) -> None:
        nonlocal last
        if text and text != last:
            console.print(text, markup=False, soft_wrap=True)
        last = text

    show(first)
    return show
