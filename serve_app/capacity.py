"""How much hardware a load needs: arithmetic on measured costs. No Ray, no torch.

A request of a known image (a click, or a concept on an image that is held) costs the ingress a little and a
decoder its share; one with a new image costs reading it, an encode, and expanding the features once as well.
Work is counted in seconds of a *device*: a GPU, or a core where the model runs on CPUs. Devices are planned to
be busy for UTILISATION of the time, which is what leaves queues short.
"""

import json
import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from deployments.resources import STORE_SHARE

UTILISATION = 0.7
FORECAST_FACTOR = 1.5
"""So far the work of a load may lie from what is foretold, up or down: tests hold it against loads of `tiny`."""
COPIES = 2
"""Shards that keep an image's compressed source."""
DECODERS_PER_GPU = 4
INGRESS_CORES = 1.5
"""What one ingress replica is booked with on a cluster."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What one request's parts cost on some hardware, and where the figures come from."""

    name: str
    model: str
    device: Literal["gpu", "cpu"]
    source: Literal["measured", "estimated"]
    where: str
    known_core_s: float
    """CPU seconds of the ingress and the proxy for a request of a known image."""
    new_core_s: float
    """... for a request with a new image: reading and resizing it, and the pool's part."""
    encode_s: float
    """Device seconds for one image."""
    expand_s: float
    """Device seconds to make a decoder hold an image: once per image."""
    click_s: float
    """Device seconds for one click."""
    concept_s: float
    """Device seconds for one concept prompt, its masks included."""
    embedding_bytes: int
    """One image in the object store."""
    hot_bytes: int
    """One image in a decoder's device memory."""
    model_bytes: int
    """Device memory of an encoder or a decoder without images: weights and working space."""
    image_bytes: int = 512 * 1024
    """One image as it came."""
    idle_ingress: float = 0.0
    """Cores that ingress, proxy and pool use while nobody asks."""
    idle_model: float = 0.0
    """... and an encoder, and a decoder, where the model runs on CPUs."""

    def __post_init__(self) -> None:
        figures = [
            self.known_core_s,
            self.new_core_s,
            self.encode_s,
            self.expand_s,
            self.click_s,
            self.concept_s,
            self.idle_ingress,
            self.idle_model,
        ]
        if not all(math.isfinite(figure) and figure >= 0 for figure in figures):
            raise ValueError(f"the costs of {self.name} must be finite and not negative")


@dataclass(frozen=True, slots=True)
class Demand:
    """A load at its peak. Raises ValueError for what is no load."""

    rps: float
    click_share: float = 0.5
    """Share of requests that are clicks on known images; the others are concepts."""
    new_share: float = 1.0
    """Share of the concept requests that bring a new image."""
    prompts: float = 1.0
    """Prompts of one concept request; 0 where the image is only embedded."""
    keep_s: float = 600.0
    """How long an image is worked on after it came."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rps) and self.rps > 0 and self.prompts >= 0 and self.keep_s >= 0):
            raise ValueError("a load has a rate above 0, and no negative prompts or time")
        if not (0 <= self.click_share <= 1 and 0 <= self.new_share <= 1):
            raise ValueError("shares lie between 0 and 1")

    @property
    def clicks(self) -> float:
        """Clicks per second."""
        return self.rps * self.click_share

    @property
    def concepts(self) -> float:
        """Concept requests per second."""
        return self.rps - self.clicks

    @property
    def new_images(self) -> float:
        """New images per second."""
        return self.concepts * self.new_share

    @property
    def images(self) -> int:
        """Images that are worked on at once."""
        return math.ceil(self.new_images * self.keep_s)


@dataclass(frozen=True, slots=True)
class Load:
    """Seconds of work in a second: of cores by the ingress, of devices by encoders and decoders."""

    ingress: float
    encoders: float
    decoders: float

    @property
    def total(self) -> float:
        """Of all of them, where they share their devices."""
        return self.ingress + self.encoders + self.decoders


@dataclass(frozen=True, slots=True)
class Sizing:
    """What to run. Replicas and devices for the peak; bytes for the images that are worked on."""

    load: Load
    ingress_replicas: int
    encoder_replicas: int
    decoder_replicas: int
    devices: int
    """GPUs when encoders and decoders have their own, or cores of a CPU-only cluster, the ingress's included."""
    shared_devices: int
    """GPUs when one holds an encoder and decoders."""
    images: int
    warm_bytes: int
    object_store_bytes: int
    """Of the encoders' nodes together."""
    cold_bytes: int
    """Of the pool's nodes together, copies included."""
    hot_bytes: int
    """Of the decoders together, were all images hot."""


def load(costs: Costs, *demands: Demand) -> Load:
    """The work of one second of all the demands together."""
    new = sum(demand.new_images for demand in demands)
    known = sum(demand.rps for demand in demands) - new
    clicks = sum(demand.clicks for demand in demands)
    prompts = sum(demand.concepts * demand.prompts for demand in demands)
    return Load(
        ingress=costs.idle_ingress + known * costs.known_core_s + new * costs.new_core_s,
        encoders=costs.idle_model + new * costs.encode_s,
        decoders=costs.idle_model + new * costs.expand_s + clicks * costs.click_s + prompts * costs.concept_s,
    )


def size(costs: Costs, demand: Demand) -> Sizing:
    """What the demand needs; at least one replica of everything."""
    work = load(costs, demand)
    on_gpu = costs.device == "gpu"
    encoders, decoders = _count(work.encoders), _count(work.decoders)
    together = _count(work.encoders + work.decoders)
    total = encoders + decoders if on_gpu else _count(work.total)
    warm = demand.images * costs.embedding_bytes
    return Sizing(
        load=work,
        ingress_replicas=_count(work.ingress / INGRESS_CORES),
        encoder_replicas=encoders,
        decoder_replicas=decoders * DECODERS_PER_GPU if on_gpu else decoders,
        devices=total,
        shared_devices=together if on_gpu else total,
        images=demand.images,
        warm_bytes=warm,
        object_store_bytes=math.ceil(warm / STORE_SHARE),
        cold_bytes=COPIES * demand.images * costs.image_bytes,
        hot_bytes=demand.images * costs.hot_bytes,
    )


def most_rps(costs: Costs, mix: Demand, cores: float, utilisation: float = UTILISATION) -> float:
    """The rate of a mix (whatever its own rate) that a CPU-only machine can carry. Raises ValueError for GPUs."""
    if costs.device != "cpu":
        raise ValueError("only where everything runs on the same cores")
    idle = load(costs).total
    return mix.rps * max(0.0, cores * utilisation - idle) / (load(costs, mix).total - idle)


def _count(work: float) -> int:
    return max(1, math.ceil(work / UTILISATION - 1e-9))


def known_costs() -> dict[str, Costs]:
    """The figures that come with this package, by name."""
    return _parse(files("serve_app").joinpath("capacity.json").read_text(encoding="utf-8"))


def read_costs(path: str) -> dict[str, Costs]:
    """Figures of your own, in the form of `capacity.json`. Raises OSError and ValueError."""
    return _parse(Path(path).read_text(encoding="utf-8"))


def _parse(text: str) -> dict[str, Costs]:
    found = {}
    for name, values in json.loads(text).items():
        try:
            found[name] = Costs(name=name, **values)
        except TypeError as error:  # missing or unknown fields
            raise ValueError(f"the costs of {name}: {error}") from None
    return found
