"""Measures encodes, concepts and clicks on the device, beside the package's own path."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from PIL import Image
from sam3.model.decoder import TransformerDecoder, TransformerDecoderLayer
from sam3.model.geometry_encoders import SequenceGeometryEncoder
from sam3.model.sam3_image import Sam3Image
from sam3.model.sam3_image_processor import Sam3Processor

from bench.device import BATCHES, SIDE, encode_flops, matmul_rate
from bench.gpu.right import CLICKS, SIZE
from bench.gpu.setting import Setting, Square, concepts, features, square
from bench.timing import Call, side_by_side
from sam3_engine.engine import ConceptItem, Engine, VisualItem
from sam3_engine.features import encode_images, normalise
from sam3_engine.spec import GRAPHED_IMAGES
from sam3_engine.transfer import IN_FLIGHT

MASKS_OFF = 1.0
"""A threshold that random weights do not reach."""
STREAM = 6
"""Batches of a stream: of each measurement of encodes that overlap."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement. batch: images, prompts or clicks of a call. seconds: the median call. fraction: of the measured
    rate of matrix products. gib: peak GPU memory beside what was held before, None on a CPU."""

    what: str
    batch: int
    seconds: float
    fraction: float | None = None
    gib: float | None = None

    @property
    def rate(self) -> float:
        """Images, prompts or clicks per second."""
        return self.batch / self.seconds


@dataclass(frozen=True, slots=True)
class Roofline:
    """rate: measured floating-point operations per second of a matrix product; flops: of one image's encode."""

    rate: float
    flops: float

    @property
    def image_s(self) -> float:
        """Seconds of one image at that rate."""
        return self.flops / self.rate


def measured(asked: Setting, what: str, count: int, call: Call, image_s: float | None = None) -> Figure:
    """One measurement. image_s: seconds of an image at the rate of matrix products, for the fraction."""
    before = _allocated(asked)
    asked.peak_gib()
    seconds = side_by_side({what: call}, asked.seconds)[what].wall
    peak = asked.peak_gib()
    return Figure(
        what,
        count,
        seconds,
        None if image_s is None else image_s * count / seconds,
        None if peak is None else peak - before,
    )


def matrix_side(asked: Setting) -> int:
    """Rows and columns of the matrices that the rate is measured with."""
    return SIDE if asked.on_gpu else 256


def roofline(asked: Setting) -> Roofline:
    """The roofline of the measured model on this device. Not for an engine that is compiled already."""
    side = matrix_side(asked)
    dtype = torch.bfloat16 if asked.on_gpu else torch.float32
    return Roofline(matmul_rate(asked.device, dtype, side, asked.seconds / 2), encode_flops(asked.engine()))


def encodes(
    asked: Setting, roof: Roofline, batches: Sequence[int], *, compiled: bool = False
) -> Iterator[Figure]:
    """End to end, from pixels in host memory to embeddings in host memory, one batch after the other and overlapping;
    and the arithmetic alone."""
    engine = asked.engine()
    name = "encode, compiled" if compiled else "encode"
    if compiled and engine.trunk is not None:
        engine.trunk.compile_blocks()
    for count in batches:
        images = [square(engine.spec, seed) for seed in range(1, count + 1)]
        pixels = torch.stack([torch.from_numpy(one) for one in images]).to(asked.device)
        alone = partial(_alone, engine, pixels)
        yield measured(asked, f"{name}, arithmetic alone", count, alone, roof.image_s)
        yield measured(asked, name, count, partial(engine.encode, images), roof.image_s)
        if asked.on_gpu:
            stream = partial(_stream, engine, images)
            yield measured(asked, f"{name}, a stream of batches", STREAM * count, stream, roof.image_s)


def graphed_encodes(asked: Setting, roof: Roofline, name: str = "") -> Iterator[Figure]:
    """Encodes of one and of two images, end to end, with a graph each. Needs a GPU."""
    engine = asked.engine()
    before, use = _allocated(asked), engine.graph_use
    engine.use_graphs("all")
    engine.warm_up(images=GRAPHED_IMAGES, prompts=0)
    held = _allocated(asked) - before
    for count in range(1, GRAPHED_IMAGES + 1):
        images = [square(engine.spec, seed) for seed in range(1, count + 1)]
        what = f"encode, {name}one graph"
        found = measured(asked, what, count, partial(engine.encode, images), roof.image_s)
        yield replace(found, gib=held)
        stream = partial(_stream, engine, images)
        yield measured(asked, f"{what}, a stream of batches", STREAM * count, stream, roof.image_s)
    engine.use_graphs(use)


def _alone(engine: Engine, pixels: torch.Tensor) -> object:
    with engine._inference(engine.precision.trunk):
        return encode_images(engine.model, normalise(pixels), engine.trunk)


def _stream(engine: Engine, images: Sequence[Square]) -> None:
    """Batches as the service feeds them: the next one starts before the last one is there."""
    under_way = deque([engine.start_encode(images)])
    for _ in range(STREAM - 1):
        under_way.append(engine.start_encode(images))
        if len(under_way) >= IN_FLIGHT:
            for pending in under_way.popleft():
                pending.result()
    for batch in under_way:
        for pending in batch:
            pending.result()


def warm_up(asked: Setting, most: int) -> Figure:
    """The decoders' warm-up for up to `most` prompts, once: on CUDA it captures their graphs."""
    engine, before = asked.engine(), _allocated(asked)
    asked.peak_gib()
    started = time.monotonic()
    engine.warm_up(images=0, prompts=most)
    peak = asked.peak_gib()
    seconds = time.monotonic() - started
    return Figure("warm-up of the decoders", 1, seconds, gib=None if peak is None else peak - before)


def _allocated(asked: Setting) -> float:
    return torch.cuda.memory_allocated(asked.device) / 2**30 if asked.on_gpu else 0.0


def prompts(asked: Setting, counts: Sequence[int], prefix: str = "") -> Iterator[Figure]:
    """Concepts of an image that is known, with ten masks each and with none; clicks; an image's first concept."""
    engine = asked.engine()
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
    for count in (1, len(CLICKS)):
        item = VisualItem(image, SIZE, CLICKS[:count])
        name = "one click" if count == 1 else f"{count} clicks"
        calls[name] = (count, partial(engine.segment_visual, [item]))
    embedding = engine.encode([square(engine.spec, 1)])[0]
    calls["expand an embedding"] = (1, lambda: engine.expand(embedding))
    calls["an image's first concept"] = (
        1,
        lambda: engine.segment_concepts([ConceptItem(engine.expand(embedding), SIZE, concepts(1, ten))]),
    )
    for what, (count, call) in calls.items():
        yield measured(asked, f"{prefix}{what}", count, call)


@contextmanager
def packages_classes(model: Sam3Image) -> Iterator[None]:
    """Let the model run the package's own code within the block, where ours replaces it."""
    decoder, geometry = model.transformer.decoder, model.geometry_encoder
    classes = {decoder: TransformerDecoder} | dict.fromkeys(decoder.layers, TransformerDecoderLayer)
    if torch.cuda.is_available():  # the package's class runs nowhere else
        classes[geometry] = SequenceGeometryEncoder
    before = {module: module.__class__ for module in classes}
    try:
        for module, its in classes.items():
            module.__class__ = its
        yield
    finally:
        for module, ours in before.items():
            module.__class__ = ours


def package(asked: Setting, roof: Roofline) -> Iterator[Figure]:
    """The package's processor and classes around float32 weights, one image at a time: under autocast as its notebooks
    use it, and without as its README does."""
    model = asked.engine(dtype="float32").model
    processor = Sam3Processor(model, resolution=asked.spec.image_size, device=str(asked.device))
    picture = Image.fromarray(square(asked.spec, 1))
    with packages_classes(model), asked.as_the_package_leaves_it():
        for half, name in ((True, "under autocast"), (False, "as in its README")):
            if half and not asked.on_gpu:
                continue
            with asked.arithmetic(half=half):
                state = processor.set_image(picture)
                encode = partial(processor.set_image, picture)
                yield measured(asked, f"the package {name}: encode", 1, encode, roof.image_s)
                concept = partial(processor.set_text_prompt, "star", state)
                yield measured(asked, f"the package {name}: one concept", 1, concept)


def batches(asked: Setting) -> Sequence[int]:
    """Batches of encodes."""
    return BATCHES if asked.on_gpu else (1,)
