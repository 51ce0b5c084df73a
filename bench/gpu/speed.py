"""Measures encodes, concepts and clicks on the device, beside the package's own path."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image
from sam3.model.sam3_image_processor import Sam3Processor

from bench.device import BATCHES, SIDE, encode_flops, matmul_rate
from bench.gpu.right import CLICKS, SIZE
from bench.gpu.setting import Setting, concepts, features, square
from bench.timing import Call, side_by_side
from sam3_engine.assembly import build_model
from sam3_engine.engine import ConceptItem, Engine, VisualItem
from sam3_engine.features import encode_images, normalise

MASKS_OFF = 1.0
"""A threshold that random weights do not reach."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement. seconds: the median call. gib: peak memory, None on a CPU."""

    what: str
    batch: int
    seconds: float
    fraction: float | None = None
    """Of the measured matmul rate."""
    gib: float | None = None

    @property
    def rate(self) -> float:
        """Images, prompts or clicks per second."""
        return self.batch / self.seconds


def encodes(asked: Setting, engine: Engine, batches: Sequence[int], *, compiled: bool) -> Iterator[Figure]:
    """End to end, from pixels in host memory to embeddings in host memory; and the arithmetic alone."""
    side = SIDE if asked.on_gpu else 256
    rate = matmul_rate(
        asked.device, torch.bfloat16 if asked.on_gpu else torch.float32, side, asked.seconds / 2
    )
    flops = encode_flops(engine)
    name = "encode, compiled" if compiled else "encode"
    if not compiled:
        yield Figure("matrix product of " + str(side), 1, 2 * side**3 / rate, 1.0)
    else:
        engine.model.backbone.vision_backbone.trunk.compile()
    for count in batches:
        images = [square(engine.spec, seed) for seed in range(1, count + 1)]
        pixels = torch.stack([torch.from_numpy(one) for one in images]).to(asked.device)

        calls = {
            name: partial(engine.encode, images),
            f"{name}, arithmetic alone": partial(_alone, asked, engine, pixels),
        }
        asked.peak_gib()
        for what, call in calls.items():
            seconds = side_by_side({what: call}, asked.seconds)[what].wall
            yield Figure(what, count, seconds, flops * count / seconds / rate, asked.peak_gib())


def _alone(asked: Setting, engine: Engine, pixels: torch.Tensor) -> object:
    with asked.arithmetic(half=asked.on_gpu):
        return encode_images(engine.model, normalise(pixels))


def prompts(asked: Setting, engine: Engine, counts: Sequence[int]) -> Iterator[Figure]:
    """Concepts of an image that is known, with ten masks each and with none; clicks; an image's first concept."""
    image = features(engine)
    table = engine.segment_concepts([ConceptItem(image, SIZE, concepts(1, 0.0))])[0][0]
    ten = float(sorted(table.scores)[-10:][0])
    calls: dict[str, tuple[int, Call]] = {}

    def concept(count: int, threshold: float) -> Call:
        item = ConceptItem(image, SIZE, concepts(count, threshold))
        return lambda: engine.segment_concepts([item])

    for count in counts:
        calls[f"{count} concepts without masks"] = (count, concept(count, MASKS_OFF))
        calls[f"{count} concepts, about ten masks each"] = (count, concept(count, ten))
    item = VisualItem(image, SIZE, CLICKS[:1])
    calls["one click"] = (1, lambda: engine.segment_visual([item]))
    embedding = engine.encode([square(engine.spec, 1)])[0]
    calls["expand an embedding"] = (1, lambda: engine.expand(embedding))
    calls["an image's first concept"] = (
        1,
        lambda: engine.segment_concepts([ConceptItem(engine.expand(embedding), SIZE, concepts(1, ten))]),
    )
    for what, (count, call) in calls.items():
        asked.peak_gib()
        seconds = side_by_side({what: call}, asked.seconds)[what].wall
        yield Figure(what, count, seconds, gib=asked.peak_gib())


def package(asked: Setting) -> Iterator[Figure]:
    """The package's processor around the same architecture in float32 weights, one image at a time: under autocast as
    its notebooks use it, and without as its README does."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(asked.spec).to(asked.device).requires_grad_(False)
    processor = Sam3Processor(model, resolution=asked.spec.image_size, device=str(asked.device))
    picture = Image.fromarray(square(asked.spec, 1))
    for half, name in ((True, "under autocast"), (False, "as in its README")):
        if half and not asked.on_gpu:
            continue
        with asked.arithmetic(half=half):
            state = processor.set_image(picture)
            calls: dict[str, Call] = {
                f"the package {name}: encode": lambda: processor.set_image(picture),
                f"the package {name}: one concept": lambda state=state: processor.set_text_prompt(
                    "star", state
                ),
            }
            for what, call in calls.items():
                asked.peak_gib()
                seconds = side_by_side({what: call}, asked.seconds)[what].wall
                yield Figure(what, 1, seconds, gib=asked.peak_gib())


def batches(asked: Setting) -> Sequence[int]:
    return BATCHES if asked.on_gpu else (1, 2)
