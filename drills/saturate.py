"""Clicks, concepts and new images as fast as they are answered, and the CPU time that processes spend on them."""

import io
import itertools
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import requests
from PIL import Image

from harness.machine import ROOT
from harness.usage import Processes, cpu_by_group
from serve_app.capacity import Demand

CLIENTS = 8
KNOWN_IMAGES = 8
CLICK = [{"points": [{"x": 460, "y": 190, "positive": True}]}]
CONCEPT = [{"type": "text", "text": "red circle"}]
SCENE = ROOT / "docs" / "images" / "shapes.jpg"
MIX = Demand(rps=1, click_share=0.7, new_share=0.5)
"""The mix that `Client.mixed` sends."""
CLIENT = "client"
"""The group of the process that sends."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One load: answers with 200, others, seconds, and CPU seconds of each group of processes."""

    answered: int
    failed: int
    seconds: float
    cpu: dict[str, float]

    @property
    def rps(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds

    def each(self, *groups: str) -> float:
        """CPU seconds of these groups for one answer."""
        return sum(self.cpu.get(group, 0.0) for group in groups) / max(1, self.answered)


def image(number: int) -> bytes:
    """The drawn scene as a JPEG that differs from the others."""
    scene = Image.open(SCENE).convert("RGB")
    scene.putpixel((number % scene.width, number // scene.width), (number % 251, 7, 9))
    file = io.BytesIO()
    scene.save(file, "JPEG", quality=92)
    return file.getvalue()


class Client:
    """Requests of the three kinds, over one connection for each thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._local = threading.local()
        self._fresh = itertools.count(1000)
        self.known = [self._embed(number) for number in range(KNOWN_IMAGES)]

    def click(self, number: int) -> bool:
        """A click on a known image. This method and the next ones return True for an answer with 200."""
        return self._post("visual_segment", prompts=CLICK, image_id=self.known[number % KNOWN_IMAGES])

    def concept(self, number: int) -> bool:
        """A concept in a known image."""
        return self._post("concept_segment", prompts=CONCEPT, image_id=self.known[number % KNOWN_IMAGES])

    def new(self, _number: int) -> bool:
        """A concept in a new image."""
        return self._post("concept_segment", image(next(self._fresh)), prompts=CONCEPT)

    def mixed(self, number: int) -> bool:
        """The kinds in MIX's shares, in turn."""
        place = number * 7 % 20 / 20
        if place < MIX.click_share:
            return self.click(number)
        return self.new(number) if number % 2 else self.concept(number)

    def _embed(self, number: int) -> str:
        answer = requests.post(f"{self._url}/sam3/embed_image", files=_parts(image(number), {}), timeout=60)
        return str(answer.json()["image_id"])

    def _post(self, route: str, file: bytes | None = None, **document: Any) -> bool:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        url = f"{self._url}/sam3/{route}"
        if file is None:
            answer = self._local.session.post(url, json=document, timeout=60)
        else:
            answer = self._local.session.post(url, files=_parts(file, document), timeout=60)
        return bool(answer.status_code == 200)


def _parts(file: bytes, document: dict[str, Any]) -> dict[str, Any]:
    return {"image": file, "request": (None, json.dumps(document), "application/json")}


def idle(_number: int) -> bool:
    """Ask nothing, to measure the load of an idle server."""
    time.sleep(0.05)
    return True


def saturate(
    processes: Processes, call: Callable[[int], bool], seconds: float, clients: int = CLIENTS
) -> Phase:
    """Requests as fast as they are answered, from so many threads. processes: the server's."""
    numbers, results = itertools.count(), [0, 0]
    lock = threading.Lock()
    end = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < end:
            good = call(next(numbers))
            with lock:
                results[not good] += 1

    before, start = _spent(processes), time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, after = time.monotonic() - start, _spent(processes)
    cpu = {group: after[group] - before.get(group, 0.0) for group in after}
    return Phase(results[0], results[1], took, cpu)


def _spent(processes: Processes) -> dict[str, float]:
    return {**cpu_by_group(processes), CLIENT: sum(psutil.Process(os.getpid()).cpu_times()[:2])}
