"""The work that the embedding pool saves: `make drill ONLY=pool`, or `python -m drills.pool`.

One run on one machine: latency of a click by where its image is, bytes per image, how often a click finds its
image hot with three decoders and Zipf traffic (also after a decoder died), encodes per image under
concurrent clients, and bytes in the object store. Clicks name their image by id; a new image is sent with the click.
"""

import argparse
import itertools
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests

from drills import object_store as store_use
from harness.cluster import Cluster, cluster, said, settings_of
from harness.exposed import metric, settled_metric
from harness.figures import Latency, latency, ms, table
from harness.images import as_json, drawing
from harness.machine import this_machine
from harness.waiting import wait_until
from serve_app.settings import Settings

DECODERS = 3
IMAGES, ZIPF = 300, 1.0
"""Images of the affinity run, and the exponent of their popularity."""
CLICKS, CLIENTS = 1500, 12
TIER_CLICKS = {"hot": 200, "warm": 100, "cold": 60, "new": 60}
FLIGHT_IMAGES, FLIGHT_CLIENTS = 6, 50
CLICK = {"points": [{"x": 70, "y": 80, "positive": True}]}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one image in bfloat16 at the official size."""

    embedding: int
    both_pyramids: int


@dataclass(frozen=True, slots=True)
class Share:
    """Lookups of one stretch of traffic."""

    hot: float
    all: float

    @property
    def percent(self) -> str:
        """Share of clicks that met their image hot, in percent."""
        return f"{100 * self.hot / self.all:.1f} %"


@dataclass(frozen=True, slots=True)
class Results:
    """All figures of a run."""

    clicks: dict[str, Latency]
    sizes: Sizes
    share: Share
    share_after_a_death: Share
    encodes: float
    images: int
    store: store_use.Use


def settings() -> Settings:
    """Three decoders; the CPUs are shared by all."""
    cpus = (os.cpu_count() or 1) * 0.9
    return settings_of(
        model="tiny",
        decoder_replicas=DECODERS,
        decoder_num_cpus=round(cpus / (2 * DECODERS), 2),
        encoder_num_cpus=round(cpus / 4, 2),
        max_queued=-1,
        request_timeout_s=300.0,
    )


class Client:
    """Clicks; one connection for each thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()

    def click(self, **image: Any) -> float:
        """One click; its seconds."""
        started = time.perf_counter()
        answer = self._session.post(
            f"{self._url}/sam3/visual_segment", json={**image, "prompts": [CLICK]}, timeout=300
        )
        answer.raise_for_status()
        return time.perf_counter() - started

    def embed(self, number: int) -> None:
        """Have an image encoded under its number."""
        body = {"image": as_json(drawing(number)), "image_id": str(number)}
        self._session.post(f"{self._url}/sam3/embed_image", json=body, timeout=300).raise_for_status()


def full_sizes() -> Sizes:
    """Bytes per image at full size, from the model's own code on tensors without memory."""
    from functools import partial
    from unittest.mock import patch

    import torch

    from sam3_engine.assembly import build_model
    from sam3_engine.features import encode_images
    from sam3_engine.spec import SAM3

    # ViT reads values of a linspace while it is built, which meta tensors do not have.
    with patch("torch.linspace", partial(torch.linspace, device="cpu")), torch.device("meta"):
        model = build_model(SAM3).eval()
        with torch.no_grad():
            features = encode_images(model, torch.empty(1, 3, SAM3.image_size, SAM3.image_size))
            neck = model.backbone.vision_backbone
            maps = [make(features.trunk) for make in [*list(neck.convs)[:3], *list(neck.sam2_convs)[:3]]]
    compact = sum(tensor.numel() for tensor in (features.trunk, *features.pvs))
    return Sizes(2 * compact, 2 * sum(one.numel() for one in maps))


def clicks_by_tier(running: Cluster) -> dict[str, Latency]:
    """One client. Budgets of one image make every second image warm, or cold."""
    client = Client(running.url)
    client.embed(1)
    client.embed(2)
    for _ in range(20):
        client.click(image_id="1")
    seconds = {"hot": [client.click(image_id="1") for _ in range(TIER_CLICKS["hot"])]}
    seconds["new"] = [client.click(image=as_json(drawing(1000 + n))) for n in range(TIER_CLICKS["new"])]
    said("clicks on warm images")
    running.deploy(hot_bytes=1, decoder_replicas=1)
    seconds["warm"] = taking_turns(client, TIER_CLICKS["warm"])
    said("clicks on cold images")
    running.deploy(hot_bytes=1, warm_bytes=1, decoder_replicas=1, pool_shards=1)
    seconds["cold"] = taking_turns(client, TIER_CLICKS["cold"])
    return {tier: latency(seconds[tier]) for tier in ("hot", "warm", "cold", "new")}


def taking_turns(client: Client, count: int) -> list[float]:
    """Seconds of clicks on two images in turn, so that no click finds the logits of the one before it."""
    for number in (1, 2):
        client.embed(number)
    turns = itertools.cycle(("1", "2"))
    return [client.click(image_id=next(turns)) for _ in range(count)]


def share_of(running: Cluster, traffic: Callable[[], None]) -> Share:
    """The hot lookups among all lookups of some traffic."""

    def counted() -> tuple[float, float]:
        every = settled_metric(running.url, "sam3_cache_lookups_total")
        return metric(running.url, "sam3_cache_lookups_total", tier="hot"), every

    hot, every = counted()
    traffic()
    hot_then, every_then = counted()
    return Share(hot_then - hot, every_then - every)


def zipf_clicks(url: str, seed: int, count: int = CLICKS) -> None:
    """Clicks on the images by popularity, from several clients."""
    weights = 1 / np.arange(1, IMAGES + 1) ** ZIPF
    chosen = np.random.default_rng(seed).choice(IMAGES, count, p=weights / weights.sum())

    def one(numbers: Sequence[int]) -> None:
        client = Client(url)
        for number in numbers:
            client.click(image_id=str(number))

    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(one, np.array_split(chosen, CLIENTS)))


def embed_all(url: str) -> None:
    """Every image once."""
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(Client(url).embed, range(IMAGES)))


def kill_a_decoder(running: Cluster) -> None:
    """And wait for the next one."""
    title = "ServeReplica:sam3:PromptDecoder"
    victim = random.choice(running.processes(title))
    victim.kill()
    wait_until(lambda: all(process.pid != victim.pid for process in running.processes(title)))
    wait_until(lambda: running.running("PromptDecoder") == DECODERS and running.settled())


def encodes_under_concurrency(running: Cluster) -> float:
    """New images, each sent by many clients at the same moment: encodes of all of them."""
    before = settled_metric(running.url, "sam3_images_encoded_total")
    clients = [Client(running.url) for _ in range(FLIGHT_CLIENTS)]
    with ThreadPoolExecutor(FLIGHT_CLIENTS) as threads:
        for number in range(FLIGHT_IMAGES):
            image = as_json(drawing(10_000 + number))
            list(threads.map(lambda client, image=image: client.click(image=image), clients))
    return settled_metric(running.url, "sam3_images_encoded_total") - before


def measure() -> Results:
    """Everything, on one cluster."""
    with cluster(settings(), said) as running:
        said(f"{FLIGHT_CLIENTS} clients send the same new image, {FLIGHT_IMAGES} times")
        encodes = encodes_under_concurrency(running)
        said(f"{IMAGES} images, {CLICKS} clicks by popularity")
        embed_all(running.url)
        zipf_clicks(running.url, seed=0, count=CLICKS // 4)
        share = share_of(running, lambda: zipf_clicks(running.url, seed=1))
        said("the same after a decoder died")
        kill_a_decoder(running)
        after = share_of(running, lambda: zipf_clicks(running.url, seed=2))
        said("clicks on hot and new images")
        clicks = clicks_by_tier(running)
        said("what the object store holds")
        running.deploy(hot_bytes="auto", warm_bytes=store_use.WARM_BYTES, pool_shards=2)
        store = store_use.pass_through(running)
    return Results(clicks, full_sizes(), share, after, encodes, FLIGHT_IMAGES, store)


def report(results: Results) -> str:
    """The tables."""
    clicks = [
        (tier, one.count, ms(one.p50), ms(one.p99), ms(one.max)) for tier, one in results.clicks.items()
    ]
    sizes = results.sizes
    figures = [
        (
            "bytes per image at full size, bfloat16",
            f"{sizes.embedding / 1e6:.1f} MB; both pyramids: {sizes.both_pyramids / 1e6:.1f} MB "
            f"({sizes.both_pyramids / sizes.embedding:.1f}x)",
        ),
        (f"clicks that met their image hot ({DECODERS} decoders, {IMAGES} images)", results.share.percent),
        (f"the {CLICKS} clicks after a decoder died and came back", results.share_after_a_death.percent),
        (
            f"encodes per image, {FLIGHT_CLIENTS} clients at once",
            f"{results.encodes / results.images:.2f}",
        ),
    ]
    head = ("image is", "clicks", "p50", "p99", "slowest")
    tables = [table(head, clicks), table(("figure", "measured"), figures), store_use.report(results.store)]
    return "\n\n".join(tables)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the results here too")
    options = parser.parse_args()
    started = time.monotonic()
    results = measure()
    print(this_machine().line())
    print(f"model tiny, {time.monotonic() - started:.0f} s\n")
    print(report(results))
    if options.json:
        options.json.write_text(json.dumps(asdict(results)))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
