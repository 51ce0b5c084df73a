"""Draw what CVAT's own drivers get from a server, for docs/cvat.md: `make drill ONLY=tools` runs it.

    python -m scripts.cvat_picture FILE URL [KEY]

The Python is that of an environment with cvat-sdk and cvat-cli.
"""

import itertools
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from cvat_sdk.masks import decode_mask
from PIL import Image

from tests.support.cvat_driver import FIRST_LABEL, Prompts, annotated, clicked, load

IMAGE = Path(__file__).resolve().parent.parent / "docs/images/shapes.jpg"
LABELS = {"star": "green star", "square": "orange square"}
STAR, BESIDE = (130.0, 250.0), (200.0, 390.0)
BOX = ((288.0, 206.0), (441.0, 359.0))
WIDTH = 400
"""Width of each of the three parts, in pixels."""
GREEN, RED, BLACK, WHITE = (60, 220, 60), (60, 60, 230), (0, 0, 0), (255, 255, 255)
COLOURS = ((255, 120, 40), (200, 60, 200), (60, 200, 230))

Picture = npt.NDArray[np.uint8]


def main(file: str, *where: str) -> None:
    """A click and a point beside, a box, and all instances of two labels; prints how many of these."""
    given = dict(zip(("url", "key"), where, strict=False))
    picture = Image.open(IMAGE).convert("RGB")
    image = np.ascontiguousarray(np.asarray(picture)[..., ::-1])

    def mask(points: list[float]) -> npt.NDArray[np.bool_]:
        return np.asarray(decode_mask(points, image_width=picture.width, image_height=picture.height))

    interaction = load("interaction", **given)
    click = Prompts(pos_points=(STAR,), neg_points=(BESIDE,), bounding_box=None)
    box = Prompts(pos_points=(), neg_points=(), bounding_box=BOX)
    (star, circle), _ = clicked(interaction, picture, click, box)
    left = over(image, mask(star.points), COLOURS[0])
    for (x, y), colour, sign in ((STAR, GREEN, "+"), (BESIDE, RED, "-")):
        cv2.circle(left, (int(x), int(y)), 11, BLACK, -1, cv2.LINE_AA)
        cv2.circle(left, (int(x), int(y)), 9, colour, -1, cv2.LINE_AA)
        cv2.putText(left, sign, (int(x) - 8, int(y) + 6), cv2.FONT_HERSHEY_SIMPLEX, 0.7, BLACK, 2)
    middle = over(image, mask(circle.points), COLOURS[1])
    dash(middle)

    labels = ",".join(f"{label}={phrase}" for label, phrase in LABELS.items())
    shapes = annotated(load("detection", labels=labels, **given), picture)
    right = image
    for shape in shapes:
        right = over(right, mask(shape.points), COLOURS[shape.label_id - FIRST_LABEL])
    for shape in shapes:
        ys, xs = np.nonzero(mask(shape.points))
        text = list(LABELS)[shape.label_id - FIRST_LABEL]
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 1)
        place = int(np.median(xs)) - width // 2, int(np.median(ys)) + height // 2
        for colour, thickness in ((BLACK, 4), (WHITE, 1)):
            cv2.putText(right, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, colour, thickness, cv2.LINE_AA)

    height = picture.height * WIDTH // picture.width
    parts = [
        cv2.resize(part, (WIDTH, height), interpolation=cv2.INTER_AREA) for part in (left, middle, right)
    ]
    cv2.imwrite(file, np.hstack(parts), [cv2.IMWRITE_WEBP_QUALITY, 80])
    print(json.dumps({"shapes": len(shapes)}))


def over(image: Picture, mask: npt.NDArray[np.bool_], colour: tuple[int, int, int]) -> Picture:
    """A picture with a mask laid over it."""
    laid = image.copy()
    laid[mask] = (0.45 * laid[mask] + 0.55 * np.array(colour)).astype(np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(laid, contours, -1, WHITE, 2, cv2.LINE_AA)
    return laid


def dash(image: Picture) -> None:
    """Draw BOX with broken lines."""
    (x0, y0), (x1, y1) = BOX
    corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0))
    for (ax, ay), (bx, by) in itertools.pairwise(corners):
        for part in np.linspace(0, 1, 10)[:-1]:
            start, end = (
                (round(ax + (bx - ax) * at), round(ay + (by - ay) * at)) for at in (part, part + 0.06)
            )
            cv2.line(image, start, end, WHITE, 2, cv2.LINE_AA)


if __name__ == "__main__":
    main(*sys.argv[1:])
