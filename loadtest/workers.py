"""The processes that a load test starts beside the server: load generators, the bare engine, the baseline servers."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from harness.orphans import end_with_parent
from harness.records import Record, read
from harness.server import ROOT, get
from loadtest.plan import Plan
from serve_app.cli.addresses import free_ports

START_S = 400.0


def best_threads(model: str) -> int:
    """The result of `bench.threads`, which runs in a process of its own."""
    found = subprocess.run(
        [sys.executable, "-m", "bench.threads", model],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(found.stdout)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


@dataclass
class Worker:
    """A process that drives plans, one at a time."""

    process: psutil.Popen
    folder: Path
    _plans: int = 0

    def run(self, plan: Plan) -> list[Record]:
        """Drive a plan; returns its requests' records. Raises RuntimeError when the worker ends."""
        self._plans += 1
        path = self.folder / f"{self.process.pid}-{self._plans}.json"
        plan = replace(plan, out=str(path.with_suffix(".records")))
        plan.write(path)
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        self.expect("done")
        return read(Path(plan.out))

    def expect(self, word: str) -> None:
        """Wait for a line of its output."""
        line = self.process.stdout.readline().strip()
        if line != word:
            raise RuntimeError(f"{self.process.args}: {word!r} was expected, {line!r} came")


@contextmanager
def worker(folder: Path, module: str, *arguments: str) -> Iterator[Worker]:
    """Start a worker: `loadtest.drive`, or `loadtest.bare` with its threads and model."""
    process = psutil.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=_environment(),
    )
    try:
        started = Worker(process, folder)
        started.expect("ready")
        yield started
    finally:
        process.stdin.close()
        process.wait(START_S)
        process.stdout.close()


@contextmanager
def baseline_server(*arguments: str) -> Iterator[tuple[str, int]]:
    """Start `loadtest.naive`; yields its URL and process id."""
    (port,) = free_ports(1)
    process = psutil.Popen(
        [sys.executable, "-m", "loadtest.naive", "--port", str(port), *arguments],
        cwd=ROOT,
        env=_environment(),
        preexec_fn=end_with_parent,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + START_S
        while get(f"{url}/readiness") is None:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("a baseline server did not start")
            time.sleep(0.2)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(START_S)
