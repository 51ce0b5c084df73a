"""The room that embeddings take in Ray's object store: `python -m drills.object_store`.

Ten times as many images as the budget has room for are sent, and all of them deleted at the end; all the while the
nodes are asked for the contents of their stores. Decoders keep every image hot. Prints the figures in bytes.
"""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import requests

from harness.cluster import Cluster, cluster, said, settings_of
from harness.figures import table
from harness.images import as_json, drawing
from harness.waiting import wait_until
from serve_app.settings import Settings

WARM_BYTES = 8 * 2**20
TIMES = 10
CLIENTS = 4
EVERY_S = 0.05
FIRST = 100_000
"""Number of the first image, apart from the images of other traffic."""


@dataclass(frozen=True, slots=True)
class Store:
    """Bytes in the object stores of all nodes.

    pinned: objects to which a process holds a reference. used: these, and the ones that Ray has not swept yet. It frees
    in batches, each second.
    """

    pinned: int
    used: int


@dataclass(frozen=True, slots=True)
class Use:
    """A run's figures, in bytes.

    budget: of all embeddings together; embedding: of one; passed: of all embeddings that were made; images: a number.
    """

    budget: int
    embedding: int
    images: int
    passed: int
    before: Store
    peak: Store
    full: Store
    """The stores when all images had been sent."""
    deleted: Store
    """The stores when all images had been deleted."""
    samples: int

    @property
    def under_way(self) -> int:
        """Most bytes that requests under way may hold beside the pool's: for each client the resized image, and an
        embedding that is new or has just been evicted."""
        return CLIENTS * 2 * self.embedding


def settings(**changes: Any) -> Settings:
    """One process of each kind, with untrained weights."""
    return settings_of(warm_bytes=WARM_BYTES, object_store_bytes="300MiB", **changes)


def store() -> Store:
    """Ask all living nodes for the bytes in their stores now."""
    import ray
    from ray._private.internal_api import node_stats  # what `ray memory` shows; no public call gives bytes

    found = [
        node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False).store_stats
        for node in ray.nodes()
        if node["Alive"]
    ]
    return Store(
        sum(one.object_store_bytes_primary_copy for one in found),
        sum(one.object_store_bytes_used for one in found),
    )


@contextmanager
def watched() -> Iterator[list[Store]]:
    """Samples of the stores, taken until the block is left."""
    samples = [store()]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(EVERY_S):
            samples.append(store())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def embeddings_budget(settings: Settings) -> int:
    """Bytes of the pool that embeddings may have. The states of videos have the rest."""
    from serve_app.builder import cluster as resources  # imports Ray, which reads its environment then
    from serve_app.replica_configs import pool_config

    config = pool_config(settings, resources())
    return config.budget.warm_bytes * config.shards


def pass_through(running: Cluster) -> Use:
    """Send the images, then delete them. The cluster's pool has a budget of WARM_BYTES."""
    url = f"{running.url}/sam3"

    def embed(number: int) -> None:
        body = {"image": as_json(drawing(FIRST + number)), "image_id": f"passing-{number}"}
        requests.post(f"{url}/embed_image", json=body, timeout=300).raise_for_status()

    def delete(number: int) -> None:
        requests.delete(f"{url}/images/passing-{number}", timeout=300).raise_for_status()

    before = store()
    embed(0)
    kept = requests.get(f"{url}/images", timeout=60).json()["images"]
    embedding: int = next(one["embedding_bytes"] for one in kept if one["image_id"] == "passing-0")
    images = TIMES * WARM_BYTES // embedding
    budget = embeddings_budget(running.settings)
    with watched() as samples, ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(embed, range(1, images)))
        swept = wait_until_still(samples)
        list(threads.map(delete, range(images)))
        deleted = wait_until_still(samples)
    peak = Store(max(one.pinned for one in samples), max(one.used for one in samples))
    return Use(budget, embedding, images, images * embedding, before, peak, swept, deleted, len(samples))


def wait_until_still(samples: list[Store]) -> Store:
    """The stores once Ray has freed all that it can: the last samples, over longer than Ray takes to free, are
    equal."""
    still = round(3 / EVERY_S)
    begin = len(samples)
    wait_until(lambda: len(samples) > begin + still and len(set(samples[-still:])) == 1)
    return samples[-1]


def report(use: Use) -> str:
    """The table."""

    def mb(count: int) -> str:
        return f"{count / 1e6:.1f} MB"

    rows = [
        ("before", use.before),
        (f"most, while {use.images} embeddings of {mb(use.passed)} were made", use.peak),
        ("afterwards", use.full),
        ("all images deleted", use.deleted),
    ]
    head = (f"object store, budget {mb(use.budget)}", "held", "with what Ray has yet to free")
    return table(head, [(text, mb(one.pinned), mb(one.used)) for text, one in rows])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with cluster(settings(), said) as running:
        use = pass_through(running)
    print(report(use))
    if options.json:
        options.json.write_text(json.dumps({**asdict(use), "under_way": use.under_way}))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
