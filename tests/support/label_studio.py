"""Draws what an annotator draws in Label Studio, and reads what it reads: masks in its run lengths, written anew from
the description of rle-pack."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tests.support.scenes import HEIGHT, WIDTH


def click(x: float, y: float, label: str = "Ball", **fields: Any) -> dict[str, Any]:
    """A smart keypoint at a pixel."""
    return {
        "id": "abc",
        "from_name": "click",
        "to_name": "image",
        "type": "keypointlabels",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "is_positive": True,
        "value": {
            "x": x / WIDTH * 100,
            "y": y / HEIGHT * 100,
            "width": 0.4,
            "labels": [label],
            "keypointlabels": [label],
        },
        **fields,
    }


def rectangle(box: tuple[float, float, float, float], label: str = "Ball") -> dict[str, Any]:
    """A smart rectangle around a pixel's box."""
    x0, y0, x1, y1 = box
    value = {"x": x0 / WIDTH, "y": y0 / HEIGHT, "width": (x1 - x0) / WIDTH, "height": (y1 - y0) / HEIGHT}
    value = {name: 100 * part for name, part in value.items()}
    return {
        **click(0, 0),
        "from_name": "box",
        "type": "rectanglelabels",
        "value": {**value, "rotation": 0, "rectanglelabels": [label]},
    }


def brush_mask(rle: list[int], width: int, height: int) -> npt.NDArray[np.bool_]:
    """The mask [H, W] of a brush region. Asserts that its four channels agree."""
    bits = np.unpackbits(np.array(rle, dtype=np.uint8)).tolist()
    at = 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        assert at <= len(bits), "the stream ends too early"
        return int("".join(map(str, bits[at - count : at])), 2)

    size, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < size:
        repeated = read(1)
        length = read(sizes[read(2)]) + 1
        values += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    pixels = np.array(values).reshape(height, width, 4)
    assert len(values) == size
    assert (pixels == pixels[:, :, :1]).all()
    assert set(np.unique(pixels)) <= {0, 255}
    return np.asarray(pixels[:, :, 3] > 0)


def region_mask(region: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """The pixels of a region of any type, as Label Studio draws it."""
    import cv2

    width, height = region["original_width"], region["original_height"]
    value = region["value"]
    mask = np.zeros((height, width), dtype=np.uint8)
    if region["type"] == "brushlabels":
        return brush_mask(value["rle"], width, height)
    if region["type"] == "polygonlabels":
        # A pixel's centre is half a pixel from its corner, where percent begin.
        points = np.array(value["points"]) * (width / 100, height / 100) - 0.5
        cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
    else:
        x, y = value["x"] * width / 100, value["y"] * height / 100
        right, bottom = x + value["width"] * width / 100, y + value["height"] * height / 100
        mask[round(y) : round(bottom), round(x) : round(right)] = 1
    return mask.astype(np.bool_)
