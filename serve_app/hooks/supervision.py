"""Detections for Roboflow's `supervision`, which draws, filters, tracks and counts them.

    from serve_app.hooks.model import model_of
    from serve_app.hooks.supervision import detect, detect_in_slices

    model = model_of("http://localhost:9001")
    found = detect(model, image, ["red circle"])

Images are arrays in BGR, as OpenCV and supervision have them, or Pillow images.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import supervision as sv
from PIL import Image

from serve_app.hooks.model import DEFAULT_THRESHOLD, Model, file_of

Picture = Image.Image | npt.NDArray[np.uint8]
SLICE = 1008
"""Side of the square, in pixels, that the model sees of any image."""
OVERLAP = 128


def detect(
    model: Model, image: Picture, phrases: Sequence[str], threshold: float = DEFAULT_THRESHOLD
) -> sv.Detections:
    """Every instance of the phrases. `class_id` counts the phrases, `data["class_name"]` names them."""
    found = [
        (number, one)
        for number, instances in enumerate(model.concepts(file_of(_pillow(image)), phrases, threshold))
        for one in instances
        if one.mask.any()
    ]
    if not found:
        return sv.Detections.empty()
    return sv.Detections(
        xyxy=np.array([one.box() for _, one in found], dtype=np.float32),
        mask=np.stack([one.mask for _, one in found]),
        confidence=np.array([one.score for _, one in found], dtype=np.float32),
        class_id=np.array([number for number, _ in found]),
        data={"class_name": np.array([phrases[number] for number, _ in found])},
    )


def detect_in_slices(
    model: Model,
    image: Picture,
    phrases: Sequence[str],
    threshold: float = DEFAULT_THRESHOLD,
    side: int = SLICE,
    overlap: int = OVERLAP,
    threads: int = 1,
) -> sv.Detections:
    """The same for an image larger than the model sees: each square of `side` pixels is an image of its own, and what
    several squares found is merged by supervision. threads: squares asked for at once."""
    slicer = sv.InferenceSlicer(
        callback=lambda part: detect(model, part, phrases, threshold),
        slice_wh=(side, side),
        overlap_wh=(overlap, overlap),
        thread_workers=threads,
    )
    return slicer(_array(image))


def _pillow(image: Picture) -> Image.Image:
    return (
        image if isinstance(image, Image.Image) else Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
    )


def _array(image: Picture) -> npt.NDArray[np.uint8]:
    if not isinstance(image, Image.Image):
        return image
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
