"""Computes the hardware that a load needs, from measured costs. No Ray, no torch.

A request for a known image (a click, or a concept on a kept image) costs a little time of the ingress and some of a
decoder. A request with a new image also costs reading the image, an encode, and expanding its features once. Work is
counted in seconds of a *device*: a GPU, or a core where the model runs on CPUs. Devices are planned to be busy for the
share UTILISATION of the time, so that queues stay short.
"""

import json
import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from deployments.model.memory import HOT_ON_A_CPU, plan_memory
from deployments.resources import STORE_SHARE

UTILISATION = 0.7
FORECAST_FACTOR = 1.5
"""Measured work may differ from the forecast by this factor, up or down; tests compare both for `tiny`."""
COPIES = 2
"""Shards that keep an image's compressed source."""
DECODERS_PER_GPU = 4
INGRESS_CORES = 1.5
"""Cores that Ray books for one ingress replica on a cluster."""


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of one request's parts on some hardware, and the source of the figures."""

    name: str
    model: str
    device: Literal["gpu", "cpu"]
    source: Literal["measured", "estimated"]
    where: str
    known_core_s: float
    """CPU seconds of the ingress and the proxy for a request for a known image."""
    new_core_s: float
    """CPU seconds of the same for a request with a new image, its reading, resizing and the pool's part included."""
    encode_s: float
    """Device seconds for one image."""
    expand_s: float
    """Device seconds to expand an image's features in a decoder: once per image."""
    click_s: float
    """Device seconds for one click."""
    concept_s: float
    """Device seconds for one concept prompt, its masks included."""
    embedding_bytes: int
    """Bytes of one image's embedding in the object store."""
    hot_bytes: int
    """Bytes of one image's features in a decoder's device memory."""
    card_bytes: int = 0
    """Bytes of one GPU's memory."""
    image_bytes: int = 512 * 1024
    """Bytes of one original image file."""
    idle_ingress: float = 0.0
    """Cores that ingress, proxy and pool use without requests."""
    idle_model: float = 0.0
    """Cores that an encoder, and a decoder, use without requests where the model runs on CPUs."""
    many_concepts_s: float | None = None
    """Device seconds for each of sixteen concept prompts of one image, which go together; None: not measured."""

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
            self.many_concepts_s or 0.0,
        ]
        if not all(math.isfinite(figure) and figure >= 0 for figure in figures):
            raise ValueError(f"the costs of {self.name} must be finite and not negative")


@dataclass(frozen=True, slots=True)
class Demand:
    """A load at its peak. Raises ValueError for a rate of 0, negative values, and shares beyond 1."""

    rps: float
    click_share: float = 0.5
    """Share of requests that are clicks on known images; the others are concepts."""
    new_share: float = 1.0
    """Share of the concept requests that bring a new image."""
    prompts: float = 1.0
    """Prompts of one concept request; 0 where the image is only embedded."""
    keep_s: float = 600.0
    """Seconds for which an image is in use after its first request."""

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
        """Images that are in use at the same time."""
        return math.ceil(self.new_images * self.keep_s)


@dataclass(frozen=True, slots=True)
class Load:
    """Seconds of work per second: of cores for the ingress, of devices for encoders and decoders."""

    ingress: float
    encoders: float
    decoders: float

    @property
    def total(self) -> float:
        """The sum, for machines where all share the same devices."""
        return self.ingress + self.encoders + self.decoders


@dataclass(frozen=True, slots=True)
class Sizing:
    """The hardware for a load. Replicas and devices are for the peak; bytes are for the images in use."""

    load: Load
    ingress_replicas: int
    encoder_replicas: int
    decoder_replicas: int
    devices: int
    """GPUs when encoders and decoders have their own, or cores of a CPU-only cluster, the ingress's included."""
    shared_devices: int
    """GPUs when each GPU holds an encoder and decoders."""
    images: int
    warm_bytes: int
    object_store_bytes: int
    """Object store of all encoders' nodes together."""
    cold_bytes: int
    """Source images on all pool nodes together, copies included."""
    hot_bytes: int
    """Device memory of all decoders together, if every image in use is hot."""
    hot_room_bytes: int
    """Device memory that these decoders have for hot images, beside weights and work."""


def load(costs: Costs, *demands: Demand) -> Load:
    """The work of all demands together."""
    new = sum(demand.new_images for demand in demands)
    known = sum(demand.rps for demand in demands) - new
    clicks = sum(demand.clicks for demand in demands)
    prompts = sum(demand.concepts * demand.prompts for demand in demands)
    return Load(
        ingress=costs.idle_ingress + known * costs.known_core_s + new * costs.new_core_s,
        encoders=costs.idle_model + new * costs.encode_s,
        decoders=costs.idle_model + new * costs.expand_s + clicks * costs.click_s + prompts * costs.concept_s,
    )


def size(costs: Costs, demand: Demand, models: int = 1, trunks: int = 1) -> Sizing:
    """The hardware for the demand: at least one replica of each deployment.

    models: models that are awake at once, and share the demand; each has decoders of its own. trunks: different image
    encoders among them. Raises ValueError for more trunks than models, and for none.
    """
    if not 1 <= trunks <= models:
        raise ValueError("there is at least one image encoder, and not more than one for each model")
    work = load(costs, demand)
    more = costs.idle_model * (models - 1), costs.idle_model * (trunks - 1)
    work = Load(work.ingress, work.encoders + more[1], work.decoders + more[0])
    on_gpu = costs.device == "gpu"
    encoders = max(_count(work.encoders), trunks)
    least = math.ceil(models / DECODERS_PER_GPU) if on_gpu else models
    decoders = max(_count(work.decoders), least)
    together = max(_count(work.encoders + work.decoders), trunks, least)
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
        hot_room_bytes=_hot_room(costs) * (decoders * DECODERS_PER_GPU if on_gpu else decoders),
    )


def _hot_room(costs: Costs) -> int:
    """Bytes for hot images of one decoder. Raises NotEnough where a decoder does not fit its share of the GPU."""
    if costs.device == "cpu":
        return HOT_ON_A_CPU
    return plan_memory("decoder", costs.model, costs.card_bytes, 1 / DECODERS_PER_GPU).hot


def most_rps(costs: Costs, mix: Demand, cores: float, utilisation: float = UTILISATION) -> float:
    """The highest rate of a mix (its own rate is ignored) that a CPU-only machine can serve. Raises ValueError."""
    if costs.device != "cpu":
        raise ValueError("only where everything runs on the same cores")
    idle = load(costs).total
    return mix.rps * max(0.0, cores * utilisation - idle) / (load(costs, mix).total - idle)


def _count(work: float) -> int:
    return max(1, math.ceil(work / UTILISATION - 1e-9))


def known_costs() -> dict[str, Costs]:
    """The costs that come with this package, by name."""
    return _parse(files("serve_app").joinpath("capacity.json").read_text(encoding="utf-8"))


def read_costs(path: str) -> dict[str, Costs]:
    """Costs from a file in the form of `capacity.json`, by name. Raises OSError and ValueError."""
    return _parse(Path(path).read_text(encoding="utf-8"))


def _parse(text: str) -> dict[str, Costs]:
    found = {}
    documents = json.loads(text)
    if not isinstance(documents, dict) or not all(isinstance(each, dict) for each in documents.values()):
        raise ValueError("expected an object of objects: costs by the name of a hardware")
    for name, values in documents.items():
        try:
            found[name] = Costs(name=name, **values)
        except TypeError as error:  # missing or unknown fields
            raise ValueError(f"the costs of {name}: {error}") from None
    return found
