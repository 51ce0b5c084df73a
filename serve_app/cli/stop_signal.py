"""Ctrl-C and its relatives as something to look at, instead of an exception in the middle of anything."""

import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a polite end, and the closing of the terminal."""


class StopSignal:
    """Set by the first signal of SIGNALS. The second one ends the process at once."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def listen(self) -> None:
        """Take the signals over. Ray installs handlers of its own when it starts: call this again after
        that."""
        for each in SIGNALS:
            signal.signal(each, self._on_signal)
        if self:
            self._leave_the_next_one()

    def wait(self, seconds: float | None = None) -> bool:
        """Until a signal has come, or for so long. Whether one has come."""
        return self._event.wait(seconds)

    def __bool__(self) -> bool:
        return self._event.is_set()

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._event.set()
        self._leave_the_next_one()

    def _leave_the_next_one(self) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
