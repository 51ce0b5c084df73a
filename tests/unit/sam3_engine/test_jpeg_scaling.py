"""A JPEG that is scaled while it is decoded gives the masks of the whole picture."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sam3_engine.encode_masks import visual_instance
from sam3_engine.engine import Engine, VisualItem
from sam3_engine.images import decode_image, decode_picture
from sam3_engine.spec import TINY
from sam3_engine.types import ImageSize, Point, VisualPrompt
from training.scenes import Scene, draw_scene, render

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def tiny() -> Engine:
    return Engine.load("tiny", device="cpu", dtype="float32")


def drawn(scene: Scene) -> Pixels:
    return render(scene)


def detailed(scene: Scene) -> Pixels:
    """The scene under grain of every size and fine stripes, finer than the model's pixels."""
    height, width = scene.size
    rng = np.random.default_rng(scene.seed)
    picture = render(scene).astype(np.float32)
    for step in (1, 2, 4, 8, 16, 32, 64):
        grain = Image.fromarray(rng.normal(0, 12, (height // step, width // step)).astype(np.float32))
        picture += np.asarray(grain.resize((width, height), Image.Resampling.BILINEAR))[..., None]
    y, x = np.mgrid[:height, :width]
    stripes = ((x // 3 + y // 5) % 2) * 40 * (((x // 160 + y // 120) % 3) == 0)
    return np.asarray((picture + stripes[..., None]).clip(0, 255), dtype=np.uint8)


def overlap(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.mark.parametrize("paint", [drawn, detailed])
@pytest.mark.parametrize("times", [2, 3, 4, 6])
def test_masks_stay_where_they_are(tiny: Engine, paint: Callable[[Scene], Pixels], times: int) -> None:
    side = TINY.image_size
    overlaps = []
    for seed in range(3):
        size = ImageSize(side * times, side * times * 4 // 3)
        scene = draw_scene(seed, size)
        file = BytesIO()
        Image.fromarray(paint(scene)).save(file, "JPEG", quality=90)
        squares = [
            decode_image(file.getvalue(), max_pixels=10**8, target=side).square,
            decode_picture(Image.open(file), side).square,
        ]
        clicks = [
            VisualPrompt((Point((x0 + x1) / 2, (y0 + y1) / 2),))
            for x0, y0, x1, y1 in (shape.box for shape in scene.shapes)
        ]
        features = [tiny.expand(embedding) for embedding in tiny.encode(squares)]
        scaled, whole = (tiny.segment_visual([VisualItem(one, size, clicks)])[0] for one in features)
        for ours, theirs in zip(scaled, whole, strict=True):
            pair = [visual_instance(mask, size, "binary").masks for mask in (ours, theirs)]
            overlaps.append(overlap(pair[0], pair[1]))
    assert np.median(overlaps) >= 0.995
