"""A Segmenter without a model: it finds drawn shapes by their colour, so its answers can be checked.

It keeps images by tenant and id as the real one does, counts its encodes, and remembers its requests.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from deployments.keys import derived_id
from deployments.protocol import (
    Answer,
    ConceptRequest,
    ImageReference,
    KeptImage,
    ModelStatus,
    PromptRequest,
    Timings,
    UnknownImage,
    VisualRequest,
)
from sam3_engine.images import lift_pillow_limit, open_upright
from sam3_engine.types import Box, ConceptPrompt, ConceptResult, ImageSize, Instance, MaskFormat, VisualPrompt
from tests.support.scenes import COLOURS

Mask = npt.NDArray[np.bool_]
LOW_RES = 64
MIN_AREA = 20
POLL_S = 0.02
MAX_KEPT_PIXELS = 4_000_000
SHAPE_FILL = {"square": (0.9, 1.01), "circle": (0.7, 0.9), "triangle": (0.45, 0.6), "star": (0.0, 0.45)}


@dataclass(slots=True)
class FakeSegmenter:
    """Answers like `deployments.protocol.Segmenter`."""

    max_pixels: int = 120_000_000
    encoded: int = 0
    is_ready: bool = True
    store_away: bool = False
    error: Exception | None = None
    """Raised instead of an answer..."""
    failures: float = float("inf")
    """...so many times."""
    delay_s: float = 0.0
    hurried: bool = False
    """End all delays, also of requests under way."""
    asked: list[PromptRequest[Any] | None] = field(default_factory=list)
    tenants: list[str] = field(default_factory=list)
    asked_models: list[str | None] = field(default_factory=list)
    states: dict[str, ModelStatus] = field(default_factory=dict)
    """Of models; any other one is ready."""
    quotas: list[int | None] = field(default_factory=list)
    _digests: dict[tuple[str, str], str] = field(default_factory=dict)
    _images: dict[tuple[str, str], npt.NDArray[np.uint8]] = field(default_factory=dict)

    def forget(self) -> None:
        """Every image, as a server that was started anew."""
        self._digests.clear()
        self._images.clear()

    def __post_init__(self) -> None:
        lift_pillow_limit()

    async def ready(self) -> bool:
        return self.is_ready

    def models(self) -> Mapping[str, ModelStatus]:
        return defaultdict(lambda: ModelStatus("ready", 1), self.states)

    async def store_answers(self) -> bool:
        return not self.store_away

    async def answer(
        self,
        image: ImageReference,
        request: PromptRequest[Any] | None,
        timings: Timings,
        model: str | None = None,
    ) -> Answer[Any]:
        self.asked_models.append(model)
        image_id, pixels = await self._find(image, request, timings)
        results: Any
        match request:
            case ConceptRequest():
                results = _concepts(pixels, request)
            case VisualRequest():
                results = _visuals(pixels, request)
            case _:
                results = []
        return Answer(image_id, _size(pixels), results)

    async def images(self, tenant: str) -> list[KeptImage]:
        named = [(image_id, digest) for (whose, image_id), digest in self._digests.items() if whose == tenant]
        return [
            KeptImage(image_id, _size(self._images[tenant, digest]), 1000, 0, "hot", 1.5, digest)
            for image_id, digest in reversed(named)
        ]

    async def delete(self, tenant: str, image_id: str) -> None:
        digest = self._digests.get((tenant, image_id))
        if digest is None:
            raise UnknownImage(image_id)
        del self._images[tenant, digest]
        self._digests = {name: of for name, of in self._digests.items() if (name[0], of) != (tenant, digest)}

    async def _find(
        self, image: ImageReference, request: PromptRequest[Any] | None, timings: Timings
    ) -> tuple[str, npt.NDArray[np.uint8]]:
        self.asked.append(request)
        self.tenants.append(image.tenant)
        self.quotas.append(image.quota)
        end = time.monotonic() + self.delay_s
        while time.monotonic() < end and not self.hurried:
            await asyncio.sleep(min(POLL_S, self.delay_s))
        if self.error is not None and self.failures > 0:
            self.failures -= 1
            raise self.error
        tenant = image.tenant
        if image.source is None:
            assert image.image_id is not None
            digest = self._digests.get((tenant, image.image_id))
            if digest is None:
                raise UnknownImage(image.image_id)
        else:
            digest = await image.source.content_digest()
        timings.cache = "hot"
        if (tenant, digest) not in self._images:
            assert image.source is not None
            content = await image.source.content()
            picture = await asyncio.to_thread(open_upright, content, max_pixels=self.max_pixels)
            self.encoded += 1
            timings.cache = "miss"
            timings.stages["encode"] = 0.001
            if picture.width * picture.height > MAX_KEPT_PIXELS:
                return derived_id(digest), np.asarray(picture)
            self._images[tenant, digest] = np.asarray(picture)
        image_id = image.image_id or derived_id(digest)
        self._digests[tenant, image_id] = digest
        return image_id, self._images[tenant, digest]


def _size(pixels: npt.NDArray[np.uint8]) -> ImageSize:
    return ImageSize(*pixels.shape[:2])


def _parts(pixels: npt.NDArray[np.uint8], colour: tuple[int, ...]) -> list[Mask]:
    """The connected regions of a colour, first from the top."""
    near = np.abs(pixels.astype(np.int16) - np.array(colour, dtype=np.int16)).max(axis=2) < 40
    count, labels = cv2.connectedComponents(near.astype(np.uint8))
    masks = [labels == label for label in range(1, count)]
    return [mask for mask in masks if mask.sum() >= MIN_AREA]


def _concepts(pixels: npt.NDArray[np.uint8], request: ConceptRequest) -> list[ConceptResult]:
    found = [_concept(pixels, prompt) for prompt in request.prompts]
    kept = _suppressed(found, request.nms_iou_threshold)
    return [
        ConceptResult(
            [
                _instance(mask, score, request.mask_format)
                for score, mask in masks
                if score >= prompt.score_threshold
            ],
            _warnings(prompt),
        )
        for prompt, masks in zip(request.prompts, kept, strict=True)
    ]


def _warnings(prompt: ConceptPrompt) -> list[str]:
    """Warnings as the model gives them, with a word for a token."""
    words = len((prompt.text or "").split())
    return [f"the text has {words} tokens, and the model reads only the first 30"] if words > 30 else []


def _visuals(pixels: npt.NDArray[np.uint8], request: VisualRequest) -> list[Instance]:
    shapes = [mask for colour in COLOURS.values() for mask in _parts(pixels, colour)]
    masks = [_pointed_at(shapes, (pixels.shape[0], pixels.shape[1]), prompt) for prompt in request.prompts]
    return [_instance(mask, 0.9 if mask.any() else 0.1, request.mask_format) for mask in masks]


def _concept(pixels: npt.NDArray[np.uint8], prompt: ConceptPrompt) -> list[tuple[float, Mask]]:
    wanted: list[tuple[int, ...]] = []
    words = (prompt.text or "").lower().split()
    wanted += [COLOURS[word] for word in words if word in COLOURS]
    wanted += [
        _colour_in(pixels, box) for box, like in zip(prompt.boxes, prompt.box_labels, strict=True) if like
    ]
    unwanted = [box for box, like in zip(prompt.boxes, prompt.box_labels, strict=True) if not like]
    masks = [mask for colour in dict.fromkeys(wanted) for mask in _parts(pixels, colour)]
    for shape in [word for word in words if word in SHAPE_FILL]:
        low, high = SHAPE_FILL[shape]
        masks = [mask for mask in masks if low <= mask.sum() / _box_area(mask) < high]
    masks = [mask for mask in masks if not any(_touches(mask, box) for box in unwanted)]
    return [(0.9 - 0.01 * index, mask) for index, mask in enumerate(masks)]


def _pointed_at(shapes: list[Mask], size: tuple[int, int], prompt: VisualPrompt) -> Mask:
    """The shape under the clicks or in the box; without any, the first shape; nothing where there is none."""
    height, width = size
    for x, y, positive in prompt.points:
        inside = 0 <= x < width and 0 <= y < height
        shapes = [mask for mask in shapes if (bool(mask[int(y), int(x)]) if inside else False) == positive]
    if prompt.box is not None:
        box = prompt.box
        shapes = sorted((mask for mask in shapes if _touches(mask, box)), key=lambda mask: -int(mask.sum()))
    return shapes[0] if shapes else np.zeros((height, width), dtype=np.bool_)


def _colour_in(pixels: npt.NDArray[np.uint8], box: Box) -> tuple[int, ...]:
    height, width = pixels.shape[:2]
    x = min(max((box[0] + box[2]) / 2, 0), width - 1)
    y = min(max((box[1] + box[3]) / 2, 0), height - 1)
    return tuple(int(value) for value in pixels[int(y), int(x)])


def _touches(mask: Mask, box: Box) -> bool:
    height, width = mask.shape
    x0, x1 = (int(min(max(value, 0), width)) for value in (box[0], box[2]))
    y0, y1 = (int(min(max(value, 0), height)) for value in (box[1], box[3]))
    return bool(mask[y0:y1, x0:x1].any())


def _box(mask: Mask) -> Box:
    if not mask.any():
        return (0.0, 0.0, 0.0, 0.0)
    y, x = np.nonzero(mask)
    return (float(x.min()), float(y.min()), float(x.max()) + 1, float(y.max()) + 1)


def _box_area(mask: Mask) -> float:
    x0, y0, x1, y1 = _box(mask)
    return (x1 - x0) * (y1 - y0)


def _suppressed(
    found: Sequence[list[tuple[float, Mask]]], threshold: float | None
) -> Sequence[list[tuple[float, Mask]]]:
    if threshold is None:
        return found
    kept: list[tuple[int, float, Mask]] = []
    every = [(prompt, score, mask) for prompt, masks in enumerate(found) for score, mask in masks]
    for prompt, score, mask in sorted(every, key=lambda one: -one[1]):
        ious = [(mask & other).sum() / (mask | other).sum() for _, _, other in kept]
        if not any(iou > threshold for iou in ious):
            kept.append((prompt, score, mask))
    return [[(score, mask) for owner, score, mask in kept if owner == index] for index in range(len(found))]


def _instance(mask: Mask, score: float, mask_format: MaskFormat) -> Instance:
    low_res = cv2.resize(mask.astype(np.float32), (LOW_RES, LOW_RES)) - 0.5
    masks: object
    match mask_format:
        case "polygon":
            contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            masks = [contour[:, 0].tolist() for contour in contours]
        case "polygon_holes":
            masks = _with_holes(mask)
        case "rle":
            rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
            masks = {"size": [int(side) for side in mask.shape], "counts": rle["counts"].decode()}
        case "binary":
            masks = mask
    return Instance(score, _box(mask), int(mask.sum()), masks, low_res.astype(np.float32))


def _with_holes(mask: Mask) -> list[dict[str, object]]:
    contours, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts: list[dict[str, object]] = []
    for index, contour in enumerate(contours):
        if hierarchy[0][index][3] < 0:
            holes = [one[:, 0].tolist() for at, one in enumerate(contours) if hierarchy[0][at][3] == index]
            parts.append({"outer": contour[:, 0].tolist(), "holes": holes})
    return parts
