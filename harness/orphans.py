"""Programs that end when the one that started them is gone, however it went."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent() -> None:
    """End a child with SIGTERM when the thread that calls Popen ends; for Popen's `preexec_fn`. Does nothing but on
    Linux."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
