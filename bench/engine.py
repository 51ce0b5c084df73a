"""Measures the engine's calls and the `sam3` package's own path in turns, on the same weights and threads.

The tasks: an encode, concepts, a click, and mask logits to polygons in the image's own pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from bench.timing import Call, Cost, side_by_side
from harness.official import Official, prediction
from sam3_engine.encode_masks import concept_instances
from sam3_engine.engine import ConceptDetections, ConceptItem, Engine, VisualItem
from sam3_engine.images import decode_image
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt
from training.concepts import ALL_CONCEPTS
from training.scenes import draw_scene, render

PROMPTS = (1, 4, 16)
MEGAPIXELS = (0.5, 12.0, 24.0)
INSTANCES = (1, 20, 100)
PHOTO = ImageSize(480, 640)
MOST_BYTES = 2 * 2**30
"""Most memory of one measurement of the package's path, which holds all masks at full size."""


@dataclass(frozen=True)
class Row:
    """One task: our cost and theirs (None, with the reason, where it was not measured)."""

    task: str
    ours: Cost
    theirs: Cost | None
    why_not: str = ""

    @property
    def ratio(self) -> float | None:
        """Their wall-clock time divided by ours: above 1, ours is faster."""
        return self.theirs.wall / self.ours.wall if self.theirs else None


def scene_file(size: ImageSize, seed: int = 1) -> bytes:
    """A drawn scene as a JPEG file."""
    import cv2

    return cv2.imencode(".jpg", render(draw_scene(seed, size))[..., ::-1])[1].tobytes()


def model_rows(engine: Engine, seconds: float, prompts: Sequence[int] = PROMPTS) -> list[Row]:
    """An encode (including JPEG decoding), concepts and a click on one image of 640 x 480."""
    official = Official(engine)
    file = scene_file(PHOTO)
    picture = Image.fromarray(render(draw_scene(1, PHOTO)))
    state = official.set_image(picture)
    square = decode_image(file, max_pixels=10**8, target=engine.spec.image_size).square
    features = engine.expand(engine.encode([square])[0])
    texts = [str(concept) for concept in ALL_CONCEPTS]

    def concepts(count: int) -> tuple[Call, Call]:
        item = ConceptItem(features, PHOTO, [ConceptPrompt(text) for text in texts[:count]])

        def ours() -> object:
            return concept_instances(engine.segment_concepts([item])[0], PHOTO, "polygon", None)

        def theirs() -> object:
            return [[prediction(m) for m in official.concept(state, text)] for text in texts[:count]]

        return ours, theirs

    click = VisualItem(features, PHOTO, [VisualPrompt((Point(320, 240),))])

    def encode() -> object:
        made = decode_image(file, max_pixels=10**8, target=engine.spec.image_size)
        return engine.expand(engine.encode([made.square])[0])

    def their_encode() -> object:
        import io

        return official.set_image(Image.open(io.BytesIO(file)).convert("RGB"))

    pairs: dict[str, tuple[Call, Call]] = {"encode one image": (encode, their_encode)}
    pairs |= {f"concept, {n} prompt{'s' * (n > 1)}": concepts(n) for n in prompts}
    pairs["one click"] = (
        lambda: engine.segment_visual([click]),
        lambda: official.click(state, [(320.0, 240.0)], [1]),
    )
    return [_row(task, ours, theirs, seconds) for task, (ours, theirs) in pairs.items()]


def mask_rows(
    engine: Engine,
    seconds: float,
    megapixels: Sequence[float] = MEGAPIXELS,
    instances: Sequence[int] = INSTANCES,
) -> list[Row]:
    """Low-resolution logits to polygons: our region masks, and full-size maps as in the package."""
    rows = []
    for mp in megapixels:
        size = photo(mp)
        for count in instances:
            logits = blobs(count, engine.spec.mask_size).to(engine.device)
            task = f"{count} mask{'s' * (count > 1)} at {mp:g} MP"
            needed = count * size.height * size.width * 4 * 2
            if needed > MOST_BYTES:
                ours = side_by_side({"ours": _ours(logits, size)}, seconds)["ours"]
                rows.append(Row(task, ours, None, f"takes {needed / 2**30:.0f} GiB"))
            else:
                rows.append(_row(task, _ours(logits, size), _theirs(logits, size), seconds))
    return rows


def _row(task: str, ours: Call, theirs: Call, seconds: float) -> Row:
    found = side_by_side({"ours": ours, "theirs": theirs}, seconds)
    return Row(task, found["ours"], found["theirs"])


def _ours(logits: torch.Tensor, size: ImageSize) -> Call:
    count = len(logits)
    found = ConceptDetections(np.ones(count, np.float32), np.zeros((count, 4), np.float32), logits)
    return lambda: concept_instances([found], size, "polygon", None)


def _theirs(logits: torch.Tensor, size: ImageSize) -> Call:
    def call() -> object:
        # As Sam3Processor._forward_grounding: up-sample, sigmoid, threshold, all masks at once.
        maps = torch.nn.functional.interpolate(
            logits[:, None], tuple(size), mode="bilinear", align_corners=False
        )
        masks = (maps.sigmoid() > 0.5).cpu().numpy()
        return [prediction((1.0, mask[0])) for mask in masks]

    return call


def photo(megapixels: float) -> ImageSize:
    """Size of a 4:3 image of `megapixels` million pixels."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    return ImageSize(height, round(height * 4 / 3))


def blobs(count: int, side: int) -> torch.Tensor:
    """Mask logits float32 [count, side, side]: one uneven blob each, a fiftieth of the image in area."""
    rng = np.random.default_rng(count)
    y, x = np.mgrid[:side, :side] + 0.5
    found: list[npt.NDArray[np.float32]] = []
    radius = side * (0.02 / np.pi) ** 0.5
    for cx, cy in rng.uniform(1.3 * radius, side - 1.3 * radius, (count, 2)):
        edge = radius * (1 + 0.25 * np.sin(7 * np.arctan2(y - cy, x - cx)))
        found.append((edge - np.hypot(x - cx, y - cy)).astype(np.float32))
    return torch.from_numpy(np.stack(found))
