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

    def __post_init__(self) -> None:
        figures = [
            self.known_core_s,
            self.new_core_s,
            self.encode_s,
            self.expand_s,
            self.click_s,
            self.concept_s,
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
    """Prompts of one concept request."""
    keep_s: float = 600.0
    """How long an image is worked on after it came."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rps) and self.rps > 0 and self.prompts >= 1 and self.keep_s >= 0):
            raise ValueError("a load has a rate above 0, at least one prompt a request, and no negative time")
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


def load(costs: Costs, demand: Demand) -> Load:
    """The work of one second of the demand."""
    known = demand.rps - demand.new_images
    return Load(
        ingress=known * costs.known_core_s + demand.new_images * costs.new_core_s,
        encoders=demand.new_images * costs.encode_s,
        decoders=demand.new_images * costs.expand_s
        + demand.clicks * costs.click_s
        + demand.concepts * demand.prompts * costs.concept_s,
    )


def size(costs: Costs, demand: Demand) -> Sizing:
    """What the demand needs; at least one replica of everything."""
    work = load(costs, demand)
    on_gpu = costs.device == "gpu"
    encoders, decoders = _count(work.encoders), _count(work.decoders)
    together = _count(work.encoders + work.decoders)
    total = encoders + decoders if on_gpu else _count(work.ingress + work.encoders + work.decoders)
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
    work = load(costs, mix)
    return mix.rps * cores * utilisation / (work.ingress + work.encoders + work.decoders)


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
