"""Clients that click all the time while something is done to the server, and their answers in each phase of it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

from harness.figures import latency, ms

CLICK = [{"points": [{"x": 460, "y": 190, "positive": True}]}]
PROBE_EVERY_S = 1.0


@dataclass
class Phase:
    """The clicks and the probes of one phase: seconds of each answer, and the failures' texts."""

    name: str
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    probed: int = 0
    """Rounds of probes."""
    probes_failed: list[str] = field(default_factory=list)

    def row(self) -> list[object]:
        """The phase's row under COLUMNS."""
        found = latency(self.seconds)
        clicks = [found.count, len(self.failed), ms(found.p50), ms(found.p99), ms(found.max)]
        return [self.name, *clicks, self.probed, len(self.probes_failed)]


COLUMNS = ["phase", "clicks", "failed", "p50", "p99", "longest", "probes", "failed"]


class Watch:
    """Threads that click, and one that asks the operator's probes; each answer counts for the phase it comes in."""

    def __init__(
        self,
        url: str,
        image_id: str,
        clients: int,
        think_s: float = 0.0,
        probes: Callable[[], list[str]] | None = None,
    ) -> None:
        """think_s: between an answer and the next click of a client. probes: sends them, and returns the failing
        ones."""
        self.phases = [Phase("before")]
        self._url, self._image_id, self._think_s = url, image_id, think_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._click) for _ in range(clients)]
        if probes:
            self._threads.append(threading.Thread(target=self._probe, args=(probes,)))

    def phase(self, name: str) -> None:
        """A new one begins."""
        self.phases.append(Phase(name))

    def _click(self) -> None:
        while not self._stop.wait(self._think_s):
            start = time.monotonic()
            problem = click(self._url, self._image_id)
            phase = self.phases[-1]
            phase.seconds.append(time.monotonic() - start)
            if problem:
                phase.failed.append(problem)

    def _probe(self, probes: Callable[[], list[str]]) -> None:
        while not self._stop.wait(PROBE_EVERY_S):
            problems = probes()
            phase = self.phases[-1]
            phase.probed += 1
            phase.probes_failed += problems

    @contextmanager
    def running(self) -> Iterator[None]:
        """Click and probe until the block is left."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


def click(url: str, image_id: str) -> str:
    """Send one click. Returns the failure in words; empty when it was answered with 200."""
    document = {"image_id": image_id, "prompts": CLICK}
    try:
        answer = requests.post(f"{url}/sam3/visual_segment", json=document, timeout=60)
    except requests.RequestException as error:
        return type(error).__name__
    return "" if answer.status_code == 200 else f"{answer.status_code} {answer.text[:100]}"
