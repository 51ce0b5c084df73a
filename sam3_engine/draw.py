"""Draws instances over their image: filled, outlined and labelled, one colour per concept. Needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sam3_engine.polygons import to_polygons_with_holes
from sam3_engine.regions import RegionMask

Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]

PALETTE: tuple[Colour, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
    (148, 103, 189),
    (23, 190, 207),
    (188, 189, 34),
)
"""Colour-blind people can tell the first seven apart (Okabe and Ito, "Color Universal Design", 2008)."""

FILL = 0.45
"""Share of the colour in a filled pixel."""


@dataclass(frozen=True, slots=True)
class LabelledMask:
    """A mask, its label (the concept) and its score."""

    concept: str
    score: float
    mask: RegionMask


def draw_instances(
    image: Image.Image, instances: Sequence[LabelledMask], colours: Mapping[str, Colour] | None = None
) -> Image.Image:
    """A copy of the image in RGB with the instances drawn over it.

    colours: of each concept; None: by the order in which they appear here. Large instances are drawn first, so that
    they hide no small ones. Labels are drawn last, best score first: each at its instance, or further away where
    another label is in its place. Raises ValueError for a mask whose size is not the image's.
    """
    pixels = np.array(image.convert("RGB"))
    for instance in instances:
        if tuple(instance.mask.size) != pixels.shape[:2]:
            raise ValueError(
                f"a mask is for an image of {tuple(instance.mask.size)}, not of {pixels.shape[:2]}"
            )
    colours = colours or concept_colours([instance.concept for instance in instances])
    filled = [instance for instance in instances if instance.mask.area]
    line = max(2, round(max(image.size) / 400))
    for instance in sorted(filled, key=lambda one: -one.mask.area):
        _fill(pixels, instance.mask, colours[instance.concept])
        _outline(pixels, instance.mask, colours[instance.concept], line)
    drawn = Image.fromarray(pixels)
    taken: list[Rectangle] = []
    for instance in sorted(filled, key=lambda one: -one.score):
        text = f"{instance.concept}: {instance.score:.2f}"
        taken.append(_label(drawn, instance.mask, text, colours[instance.concept], taken))
    return drawn


def concept_colours(concepts: Sequence[str]) -> dict[str, Colour]:
    """A colour for each distinct concept, by the order in which they first appear."""
    return {concept: PALETTE[i % len(PALETTE)] for i, concept in enumerate(dict.fromkeys(concepts))}


def _fill(pixels: npt.NDArray[np.uint8], mask: RegionMask, colour: Colour) -> None:
    height, width = mask.crop.shape
    region = pixels[mask.y0 : mask.y0 + height, mask.x0 : mask.x0 + width]
    mixed = region[mask.crop] * (1 - FILL) + np.array(colour) * FILL
    region[mask.crop] = mixed.round().astype(np.uint8)


def _outline(pixels: npt.NDArray[np.uint8], mask: RegionMask, colour: Colour, line: int) -> None:
    """A line in the concept's colour on a wider dark line, which is visible on any background."""
    borders = [
        np.array(border, dtype=np.int32)
        for part in to_polygons_with_holes(mask)
        for border in (part["outer"], *part["holes"])
    ]
    cv2.polylines(pixels, borders, True, (20, 20, 20), line + 2, cv2.LINE_AA)
    cv2.polylines(pixels, borders, True, colour, line, cv2.LINE_AA)


def _label(
    image: Image.Image, mask: RegionMask, text: str, colour: Colour, taken: Sequence[Rectangle]
) -> Rectangle:
    """Write the label at the first free place around the mask's top left corner; returns the place."""
    size = max(11, round(max(image.size) / 45))
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = max(2, size // 5)
    width, height = round(right - left) + 2 * pad, round(bottom - top) + 2 * pad
    place = _place(mask, width, height, image.size, taken)
    draw.rounded_rectangle(place, radius=pad, fill=colour)
    draw.text((place[0] + pad - left, place[1] + pad - top), text, font=font, fill=_readable_on(colour))
    return place


def _place(
    mask: RegionMask, width: int, height: int, image_size: tuple[int, int], taken: Sequence[Rectangle]
) -> Rectangle:
    """A rectangle for a label: above the mask, else inside it at the top, else further down. A label that fits
    into the image lies within it."""
    x0, y0, _, y1 = (int(side) for side in mask.box)
    places = []
    for y in (y0 - height, y0, *range(y0 + height, y1 + height + 1, height)):
        x = max(0, min(x0, image_size[0] - width))
        inside = max(0, min(y, image_size[1] - height))
        places.append((x, inside, x + width, inside + height))
    return next((place for place in places if not any(_overlap(place, other) for other in taken)), places[0])


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _readable_on(colour: Colour) -> Colour:
    """Black or white, whichever contrasts more (relative luminance as in ITU-R BT.709)."""
    red, green, blue = colour
    return (0, 0, 0) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 120 else (255, 255, 255)
