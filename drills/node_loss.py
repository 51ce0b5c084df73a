"""A node dies under traffic that names images by their ids alone: `python -m drills.node_loss`.

Two nodes share encoders, decoders, the pool's shards and the object store; the second is killed with all it
holds. Decoders keep nothing hot, so every request needs the embedding. Prints how many requests failed, the
longest wait, and what had to be encoded again. Exits with 1 when a request failed.
"""

import argparse
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from harness.cluster import Cluster, cluster, said, settings_of
from harness.exposed import settled_metric
from harness.images import as_json, drawing
from harness.offered import Outcome, offered, one_by_one, outcome
from harness.waiting import wait_until
from serve_app.settings import Settings

IMAGES = 24
MOST, SHARE = 6.0, 0.2
"""Requests a second, or on a slow machine this share of its rate one by one: it also starts the dead processes
again."""
BEFORE_S, AFTER_S = 5.0, 15.0
CLICK = {"points": [{"x": 70, "y": 80, "positive": True}]}
PARTS = ("ImageEncoder", "PromptDecoder", "PoolShard")


@dataclass(frozen=True, slots=True)
class Result:
    """The consequences of the node's loss."""

    lost: dict[str, int]
    """Processes that died with the node."""
    images: int
    encoded_again: float
    outcome: Outcome


def settings() -> Settings:
    """Two of everything, so that no part is on the lost node alone, and small enough for the other to hold it."""
    return settings_of(
        ingress_replicas=2,
        encoder_replicas=2,
        encoder_num_cpus=0.4,
        decoder_replicas=2,
        decoder_num_cpus=0.4,
        pool_shards=2,
        hot_bytes=1,
        object_store_bytes="200MiB",
        health_check_s=2.0,
        health_check_timeout_s=3.0,
    )


def name(number: int) -> str:
    """The id of an image."""
    return f"kept-{number % IMAGES}"


def ask(number: int) -> tuple[str, dict[str, Any]]:
    """A click on an image that only the server has."""
    return "/sam3/visual_segment", {"image_id": name(number), "prompts": [CLICK]}


def on(node: Any, part: str) -> int:
    """Number of processes of a kind that run on a node."""
    (raylet,) = node.all_processes["raylet"]
    workers = psutil.Process(raylet.process.pid).children(recursive=True)
    return sum(part in " ".join(worker.cmdline()) for worker in workers)


def lose(running: Cluster) -> Result:
    """Have images encoded, offer load, and kill the second node meanwhile."""
    for number in range(IMAGES):
        body = {"image": as_json(drawing(number)), "image_id": name(number)}
        requests.post(f"{running.url}/sam3/embed_image", json=body, timeout=60).raise_for_status()
    (node,) = running.nodes
    lost = {part: on(node, part) for part in PARTS}
    rate = min(MOST, SHARE * one_by_one(running.url, ask, IMAGES))
    said(f"{rate:.1f} requests a second")
    with offered(running.url, ask, rate) as load:
        begin = time.monotonic()
        time.sleep(BEFORE_S)
        running.kill_node()
        said(f"killed the node with {lost}")
        wait_until(running.settled)
        time.sleep(AFTER_S)
        finish = time.monotonic()
    again = settled_metric(running.url, "sam3_images_encoded_total", cause="again")
    return Result(lost, IMAGES, again, outcome(load.answers, begin, finish))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the result here too")
    options = parser.parse_args()
    with cluster(settings(), said, extra_cpus=2) as running:
        result = lose(running)
    found = result.outcome
    print(f"with the node went {result.lost}")
    print(f"{found.requests} requests by id, {found.failed} failed, {found.refused} refused")
    print(f"longest answer {found.latency.max:.1f} s, longest time without one {found.stall_s:.1f} s")
    print(f"{result.encoded_again:.0f} of {result.images} images were encoded again from their source")
    print("\n".join(found.errors))
    if options.json:
        options.json.write_text(json.dumps(asdict(result)))
    return 1 if found.failed or found.refused else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
