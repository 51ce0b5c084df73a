"""Turns Ctrl-C and similar signals into a flag, so that no exception interrupts the code at any place."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, `kill`'s default signal, and the closing of the terminal."""


class StopSignal:
    """Set by the first signal of SIGNALS. The second one ends the process at once."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def listen(self) -> None:
        """Install the handlers. Ray installs handlers of its own when it starts: call this again after
        that."""
        for each in SIGNALS:
            signal.signal(each, self._on_signal)
        if self:
            self._leave_the_next_one()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen until the end of the block, and then restore the handlers that were there."""
        before = {each: signal.getsignal(each) for each in SIGNALS}
        self.listen()
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for a signal, for at most `seconds`; returns whether one has come."""
        return self._event.wait(seconds)

    def __bool__(self) -> bool:
        return self._event.is_set()

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._event.set()
        self._leave_the_next_one()

    def _leave_the_next_one(self) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
