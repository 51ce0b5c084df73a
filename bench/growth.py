"""Measures how costs grow with prompts, clicks, instances, image size, cached images and concurrent processes.

Each measurement is a table of sizes and costs, and the fitted exponent: 1 means proportional, 0 constant.
"""

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.engine import _ours, blobs, photo, scene_file
from bench.timing import Call, exponent, side_by_side
from deployments.decoder.hot import HotCache
from deployments.keys import ImageKey
from loadtest.plan import Plan
from loadtest.workers import worker
from sam3_engine.engine import ConceptItem, Engine, VisualItem
from sam3_engine.images import decode_image
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt
from training.concepts import ALL_CONCEPTS


@dataclass(frozen=True)
class Growth:
    """Costs in seconds against sizes."""

    what: str
    unit: str
    sizes: Sequence[float]
    costs: Sequence[float]

    @property
    def exponent(self) -> float:
        """The exponent k of the best fit of cost = c * size ** k."""
        return exponent(self.sizes, self.costs)


def growth(what: str, unit: str, calls: dict[float, Call], seconds: float) -> Growth:
    """Measure calls of several sizes in turns."""
    found = side_by_side({str(size): call for size, call in calls.items()}, seconds)
    return Growth(what, unit, list(calls), [found[str(size)].wall for size in calls])


def engine_growth(engine: Engine, seconds: float, *, small: bool = False) -> list[Growth]:
    """The growth of the engine's calls, measured in this process."""
    size = ImageSize(480, 640)
    features = [engine.expand(engine.encode([_square(engine, seed)])[0]) for seed in range(2 if small else 8)]
    texts = [str(concept) for concept in ALL_CONCEPTS]

    def concepts(count: int) -> Call:
        item = ConceptItem(features[0], size, [ConceptPrompt(text) for text in texts[:count]])
        return lambda: engine.segment_concepts([item])

    def clicks(count: int) -> Call:
        prompts = [VisualPrompt((Point(20.0 + 15 * index, 240),)) for index in range(count)]
        return lambda: engine.segment_visual([VisualItem(features[0], size, prompts)])

    def masks(count: int, mp: float) -> Call:
        return _ours(blobs(count, engine.spec.mask_size), photo(mp))

    def decode(mp: float) -> Call:
        file = scene_file(photo(mp))
        return lambda: decode_image(file, max_pixels=10**9, target=engine.spec.image_size)

    def encode(count: int) -> Call:
        squares = [_square(engine, seed) for seed in range(count)]
        return lambda: engine.encode(squares)

    few = (1, 2) if small else (1, 2, 4, 8, 16)
    pixels = (0.25, 1.0) if small else (0.5, 2.0, 6.0, 12.0, 24.0)
    return [
        growth("concept request", "prompts", {n: concepts(n) for n in few}, seconds),
        growth("click request", "clicks", {n: clicks(n) for n in few}, seconds),
        growth("encode", "images in a batch", {n: encode(n) for n in few[:4]}, seconds),
        growth("JPEG to the model's square", "MP", {mp: decode(mp) for mp in pixels}, seconds),
        growth("one mask to polygons", "MP", {mp: masks(1, mp) for mp in pixels}, seconds),
        growth("masks to polygons at 2 MP", "instances", {n: masks(n, 2.0) for n in few}, seconds),
        cached_images((100, 1000) if small else (100, 1_000, 10_000, 100_000), seconds),
    ]


class _Weightless:
    nbytes = 1


def cached_images(counts: Sequence[int], seconds: float) -> Growth:
    """A thousand lookups in a decoder's hot tier, by the number of images in it."""

    def look_up(count: int) -> Call:
        cache: HotCache[ImageKey, _Weightless] = HotCache(budget=10 * count)
        keys = [ImageKey("t", "m", str(number)) for number in range(count)]
        for key in keys:
            cache.put(key, _Weightless())
        asked = [keys[number * count // 1000] for number in range(1000)]
        return lambda: [cache.get(key) for key in asked]

    calls: dict[float, Call] = {count: look_up(count) for count in counts}
    return growth("1,000 lookups in the hot tier", "images held", calls, seconds)


def processes(counts: Sequence[int], seconds: float, folder: Path) -> Growth:
    """Seconds per answer of concurrent processes that click, with one thread each: the machine's limit for
    decoder replicas."""
    costs = []
    for count in counts:
        plan = Plan("", "click", seconds, clients=1, pictures=2, run=uuid.uuid4().hex)
        with ExitStack() as stack, ThreadPoolExecutor(count) as threads:
            start = [worker(folder, "loadtest.bare", "1", "tiny") for _ in range(count)]
            workers = [stack.enter_context(one) for one in start]
            answers = list(threads.map(lambda one, plan=plan: one.run(plan), workers))
        costs.append(seconds / sum(len(records) for records in answers))
    return Growth("a click, by processes side by side", "processes", list(counts), costs)


def _square(engine: Engine, seed: int) -> npt.NDArray[np.uint8]:
    file = scene_file(ImageSize(240, 320), seed)
    return decode_image(file, max_pixels=10**8, target=engine.spec.image_size).square
