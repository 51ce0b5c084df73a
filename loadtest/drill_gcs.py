"""The promise of k8s/overlays/ha, tried on this machine: the head dies under load, its state lies in Redis.

    python -m loadtest.drill_gcs [--down 20]

Two worker nodes serve a click load through one node's HAProxy. Then the head is killed with all that runs on it (GCS,
dashboard, Serve's controller) and started again after a while. Meanwhile every answer is counted; afterwards a decoder
is killed, and a burst must bring a second one: healing and scaling are back.
"""

import argparse
import base64
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import requests
import yaml

from loadtest.figures import latency, ms, table
from loadtest.local_cluster import LocalCluster, local_cluster, wait_for
from loadtest.machine import ROOT, this_machine
from serve_app.builder import APP_NAME
from serve_app.cli.addresses import free_ports

PASSWORD = "drill"
LABELS = {f"sam3/{role}": "true" for role in ("ingress", "encoder", "decoder", "pool")}
CLICK = [{"points": [{"x": 460, "y": 190, "positive": True}]}]
BURST_CLIENTS = 12
SLACK_S = 180.0


@dataclass
class Phase:
    """What clients saw for a while."""

    name: str
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def row(self) -> list[object]:
        found = latency(self.seconds)
        return [self.name, found.count, len(self.failed), ms(found.p50), ms(found.p99), ms(found.max)]


class Clients:
    """Threads that click all the time; each answer counts for the phase in which it came."""

    def __init__(self, url: str, image_id: str, clients: int = 2) -> None:
        self.phase = Phase("before")
        self._url, self._image_id = url, image_id
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self) -> None:
        while not self._stop.is_set():
            start = time.monotonic()
            problem = click(self._url, self._image_id)
            phase = self.phase
            phase.seconds.append(time.monotonic() - start)
            if problem:
                phase.failed.append(problem)

    @contextmanager
    def running(self) -> Iterator["Clients"]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


def click(url: str, image_id: str) -> str:
    """What went wrong; empty when it was answered."""
    document = {"image_id": image_id, "prompts": CLICK}
    try:
        answer = requests.post(f"{url}/sam3/visual_segment", json=document, timeout=60)
    except requests.RequestException as error:
        return type(error).__name__
    return "" if answer.status_code == 200 else f"{answer.status_code} {answer.text[:100]}"


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis as the overlay runs it; its address."""
    (port,) = free_ports(1)
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes"]
    with subprocess.Popen(
        ["redis-server", *options, "--requirepass", PASSWORD], stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()


def configuration(port: int) -> dict[str, Any]:
    """The `demo` overlay's, with a second decoder for bursts."""
    text = (ROOT / "k8s" / "overlays" / "demo" / "serve.yaml").read_text(encoding="utf-8")
    config: dict[str, Any] = yaml.safe_load(yaml.safe_load(text)["spec"]["serveConfigV2"])
    config["http_options"]["port"] = port
    arguments = config["applications"][0]["args"]
    arguments.update(
        warm_bytes="100MiB", decoder_max_replicas=2, decoder_queue_target=2.0, scale_patience_s=0.5
    )
    return config


def embed(url: str) -> str:
    """Have the drawn scene encoded; its id."""
    value = base64.b64encode((ROOT / "docs" / "images" / "shapes.jpg").read_bytes()).decode()
    document = {"image": {"type": "base64", "value": value}}
    answer = requests.post(f"{url}/sam3/embed_image", json=document, timeout=60)
    answer.raise_for_status()
    return str(answer.json()["image_id"])


def running_decoders(cluster: LocalCluster) -> list[dict[str, Any]]:
    found = cluster.application(APP_NAME).get("deployments", {}).get("PromptDecoder", {}).get("replicas", [])
    return [replica for replica in found if replica["state"] == "RUNNING"]


def drill(
    cluster: LocalCluster, down: float, say: Callable[[str], None]
) -> tuple[list[Phase], dict[str, float]]:
    """The phases, and how long each recovery took in seconds."""
    head = cluster.start_head()
    workers = [cluster.start_worker(LABELS, num_cpus=4) for _ in range(2)]
    cluster.deploy(configuration(int(head.url.rpartition(":")[2])))
    cluster.wait_until_running(APP_NAME, SLACK_S)
    url = workers[0].url
    image_id = embed(url)
    say("the application runs; loading it")
    took: dict[str, float] = {}
    with Clients(url, image_id).running() as clients:
        phases = [clients.phase]
        time.sleep(10)

        def phase(name: str) -> None:
            clients.phase = Phase(name)
            phases.append(clients.phase)
            say(name)

        phase(f"head dead, {down:g} s")
        head.kill()
        time.sleep(down)
        phase("head coming back")
        start = time.monotonic()
        head.start_again()
        cluster.wait_until_running(APP_NAME, SLACK_S)
        took["from the head's start until Serve's controller answers"] = time.monotonic() - start
        phase("head is back")
        time.sleep(10)
        phase("a decoder killed")
        before = {replica["actor_id"] for replica in running_decoders(cluster)}
        kill_decoder(cluster)
        took["from a decoder's death until another one runs"] = wait_for(
            lambda: bool({replica["actor_id"] for replica in running_decoders(cluster)} - before), SLACK_S
        )
        phase("a burst")
        with Clients(url, image_id, BURST_CLIENTS).running():
            took["from the burst's start until two decoders run"] = wait_for(
                lambda: len(running_decoders(cluster)) == 2, SLACK_S
            )
    return phases, took


def kill_decoder(cluster: LocalCluster) -> None:
    """With -9, as the kernel does."""
    os.kill(int(running_decoders(cluster)[0]["pid"]), signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--down", type=float, default=20.0, help="seconds that the head is away")
    options = parser.parse_args()
    numbers = count(1)
    with local_cluster() as cluster, redis_server(cluster.folder) as address:
        cluster.keep_state_in(address, PASSWORD)
        phases, took = drill(
            cluster, options.down, lambda text: print(f"{next(numbers)}. {text}", flush=True)
        )
    print(f"\n{this_machine().line()}\n")
    print(table(["phase", "requests", "failed", "p50", "p99", "longest"], [phase.row() for phase in phases]))
    print()
    print(table(["recovery", "s"], [[name, f"{seconds:.1f}"] for name, seconds in took.items()]))
    for each in phases:
        for problem in sorted(set(each.failed)):
            print(f"{each.name}: {problem}")


if __name__ == "__main__":
    main()
