"""Forecasts how long labelling images takes, from measured costs of the model's parts. No Ray, no torch."""

import math
from dataclasses import dataclass

from serve_app.capacity import Costs

TOGETHER = 0.85
"""Share of the model's own rate that a run is taken to reach: batches wait for images."""
MASK_CORE_S = 0.002
"""CPU seconds to make an object's mask of a camera's image: measured at 12 megapixels (docs/benchmarks.md)."""


@dataclass(frozen=True, slots=True)
class Images:
    """The size of a task of labelling. prompts: phrases of all classes. objects: found in an image, on average."""

    count: int
    prompts: int
    objects: float = 10.0

    def __post_init__(self) -> None:
        if self.count < 1 or self.prompts < 1 or not (math.isfinite(self.objects) and self.objects >= 0):
            raise ValueError("there is an image and a phrase at least, and no negative number of objects")


@dataclass(frozen=True, slots=True)
class Forecast:
    """device_s: of a GPU, or of cores, for one image. core_s: CPU seconds beside it: reading, and masks. images_per_s:
    of all devices. hours: for all images. cores: that keep the devices busy."""

    device_s: float
    core_s: float
    images_per_s: float
    hours: float
    cores: float


def labelling(costs: Costs, images: Images, devices: int) -> Forecast:
    """The time of a run. devices: GPUs, or cores where the model runs on CPUs: then they do the rest, too."""
    prompt_s = costs.concept_s if costs.many_concepts_s is None else costs.many_concepts_s
    device_s = costs.encode_s + costs.expand_s + images.prompts * prompt_s
    core_s = costs.new_core_s + images.objects * MASK_CORE_S
    busy = device_s if costs.device == "gpu" else device_s + core_s
    rate = devices * TOGETHER / busy
    return Forecast(device_s, core_s, rate, images.count / rate / 3600, rate * core_s)
