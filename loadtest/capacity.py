"""What requests cost on this machine, part by part, and whether `sam3-serve plan` foretells a mix of them.

    python -m loadtest.capacity [--seconds 20] [--write FILE]

Three loads run one after another at saturation: clicks on known images, concepts on known images, concepts on new
images. The CPU time of each group of processes, divided by the requests, gives the planner's costs. Then a mix runs,
and the rate that the costs foretell is printed beside the one that was reached.
"""

import argparse
import io
import itertools
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import requests
from PIL import Image

from loadtest.figures import table
from loadtest.machine import ROOT, this_machine
from loadtest.server import ServerProcess, server_process
from serve_app.capacity import Costs, Demand, load, most_rps

CLIENTS = 8
KNOWN_IMAGES = 8
CLICK = [{"points": [{"x": 460, "y": 190, "positive": True}]}]
CONCEPT = [{"type": "text", "text": "red circle"}]
GROUPS = {"ingress": "Ingress", "encoder": "ImageEncoder", "decoder": "PromptDecoder", "pool": "PoolShard"}
"""Names of Ray's workers, and a part of their titles."""
SCENE = ROOT / "docs" / "images" / "shapes.jpg"
MIX = Demand(rps=1, click_share=0.7, new_share=0.5)


@dataclass(frozen=True, slots=True)
class Phase:
    """One load: answers with 200, others, seconds, and CPU seconds of each group of processes."""

    answered: int
    failed: int
    seconds: float
    cpu: dict[str, float]

    @property
    def rps(self) -> float:
        return self.answered / self.seconds

    def each(self, *groups: str) -> float:
        """CPU seconds of these groups for one request."""
        return sum(self.cpu[group] for group in groups) / max(1, self.answered)


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
        return self._post("visual_segment", prompts=CLICK, image_id=self.known[number % KNOWN_IMAGES])

    def concept(self, number: int) -> bool:
        return self._post("concept_segment", prompts=CONCEPT, image_id=self.known[number % KNOWN_IMAGES])

    def new(self, _number: int) -> bool:
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


def run(server: ServerProcess, call: Callable[[int], bool], seconds: float, clients: int = CLIENTS) -> Phase:
    """Requests as fast as they are answered, from so many threads."""
    numbers, results = itertools.count(), [0, 0]
    lock = threading.Lock()
    end = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < end:
            good = call(next(numbers))
            with lock:
                results[not good] += 1

    before, start = cpu_seconds(server), time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, after = time.monotonic() - start, cpu_seconds(server)
    return Phase(results[0], results[1], took, {name: after[name] - before[name] for name in after})


def cpu_seconds(server: ServerProcess) -> dict[str, float]:
    """CPU time so far of the client, of HAProxy, of each group of workers, and of the rest of Ray."""
    used = dict.fromkeys(["client", "proxy", *GROUPS, "rest"], 0.0)
    used["client"] = sum(psutil.Process(os.getpid()).cpu_times()[:2])
    for process in server.descendants():
        try:
            words, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        names = [name for name, part in GROUPS.items() if part in words and "ray::" in words]
        group = names[0] if names else "proxy" if "haproxy" in process.name() else "rest"
        used[group] += times.user + times.system
    return used


def measured_costs(idle: Phase, click: Phase, concept: Phase, new: Phase, where: str) -> Costs:
    """The planner's costs. `rest` counts for what it does beyond its work when nothing is asked."""

    def rest(phase: Phase) -> float:
        beyond = phase.cpu["rest"] - idle.cpu["rest"] * phase.seconds / idle.seconds
        return max(0.0, beyond) / max(1, phase.answered)

    concept_s = concept.each("decoder")
    return Costs(
        name="tiny-cpu",
        model="tiny",
        device="cpu",
        source="measured",
        where=where,
        known_core_s=click.each("ingress", "proxy", "pool") + rest(click),
        new_core_s=new.each("ingress", "proxy", "pool") + rest(new),
        encode_s=new.each("encoder"),
        expand_s=max(0.0, new.each("decoder") - concept_s),
        click_s=click.each("decoder"),
        concept_s=concept_s,
        embedding_bytes=_embedding_bytes(),
        hot_bytes=_hot_bytes(),
        model_bytes=40_000_000,
        image_bytes=len(image(0)),
    )


def foretold(costs: Costs, idle: Phase, phases: dict[str, Phase], cores: int) -> float:
    """Requests per second of MIX at saturation: what the planner says of the cores that are left to the
    server."""
    shares = {"click": MIX.click_share, "new": MIX.new_images, "concept": MIX.concepts - MIX.new_images}
    client = sum(share * phases[name].each("client") for name, share in shares.items())
    free = cores - sum(idle.cpu.values()) / idle.seconds
    alone = most_rps(costs, MIX, free, utilisation=1.0)
    work = load(costs, MIX)
    server = work.ingress + work.encoders + work.decoders
    return alone * server / (server + client)  # the client works on the same cores


def measure(server: ServerProcess, seconds: float) -> tuple[Costs, dict[str, Phase], float]:
    """Costs, the phases, and the rate of the mix that the costs foretell."""
    client = Client(server.url)
    for warm in (client.click, client.concept, client.new):
        run(server, warm, min(2.0, seconds))
    idle = run(server, _nothing, min(5.0, seconds), clients=1)
    phases = {
        "click": run(server, client.click, seconds),
        "concept": run(server, client.concept, seconds),
        "new": run(server, client.new, seconds),
        "mix": run(server, client.mixed, seconds),
    }
    machine = this_machine()
    costs = measured_costs(idle, phases["click"], phases["concept"], phases["new"], machine.line())
    return costs, phases, foretold(costs, idle, phases, machine.cores)


def _nothing(_number: int) -> bool:
    time.sleep(0.05)
    return True


def _embedding_bytes() -> int:
    from sam3_engine.spec import TINY

    pvs = TINY.d_model // 8 * 16 + TINY.d_model // 4 * 4 + TINY.d_model
    return 4 * TINY.grid**2 * (TINY.vit_dim + pvs)


def _hot_bytes() -> int:
    from sam3_engine.spec import TINY

    return _embedding_bytes() + 4 * TINY.grid**2 * TINY.d_model * (16 + 4 + 1)


def report(costs: Costs, phases: dict[str, Phase], rate: float) -> str:
    """Tables of the phases, of the costs, and of what was foretold."""
    names = ["client", "proxy", *GROUPS, "rest"]
    rows = [
        [
            name,
            phase.answered,
            phase.failed,
            f"{phase.rps:.3g}",
            *(f"{1000 * phase.each(g):.3g}" for g in names),
        ]
        for name, phase in phases.items()
    ]
    head = ["load", "answered", "failed", "requests/s", *(f"{name}, ms CPU" for name in names)]
    reached = phases["mix"].rps
    return "\n\n".join(
        [
            costs.where,
            table(head, rows),
            f"mix of {MIX.click_share:.0%} clicks, {MIX.new_images:.0%} new images: "
            f"foretold {rate:.3g} requests/s, reached {reached:.3g} ({rate / reached - 1:+.0%})",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load")
    parser.add_argument("--write", type=Path, help="a file of figures in which to replace tiny-cpu's")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        server_process(Path(folder), model="tiny", object_store_bytes="1GiB") as server,
    ):
        costs, phases, rate = measure(server, options.seconds)
    print(report(costs, phases, rate))
    if options.write:
        known = json.loads(options.write.read_text(encoding="utf-8"))
        values = asdict(replace(costs))
        name = values.pop("name")
        rounded = {
            key: round(value, 6) if isinstance(value, float) else value for key, value in values.items()
        }
        options.write.write_text(json.dumps({**known, name: rounded}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
