"""The drills' closing line."""

import time

import pytest

BEGAN = time.monotonic()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts = {
        kind: len(terminalreporter.getreports(kind)) for kind in ("passed", "failed", "error", "skipped")
    }
    minutes = (time.monotonic() - BEGAN) / 60
    terminalreporter.write_line(
        f"drill: {counts['passed']} passed, {counts['failed'] + counts['error']} failed, "
        f"{counts['skipped']} skipped, {minutes:.0f} minutes"
    )
