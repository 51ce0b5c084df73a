"""Draw what a server's CVAT functions answer, for docs/cvat.md.

    SAM3_TOOLS=cvat SAM3_CVAT_LABELS="star=green star,orange square" make serve
    python -m scripts.cvat_picture http://localhost:9001

Masks are read as CVAT's server reads them: an interactor's is the image's, a detector's its box's.
"""

import base64
import itertools
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import requests

IMAGES = Path(__file__).resolve().parent.parent / "docs/images"
STAR, BESIDE = (130, 250), (200, 390)
BOX = ((288, 206), (441, 359))
WIDTH = 400
"""Width of each of the three parts, in pixels."""
GREEN, RED, BLACK, WHITE = (60, 220, 60), (60, 60, 230), (0, 0, 0), (255, 255, 255)
COLOURS = ((255, 120, 40), (200, 60, 200), (60, 200, 230))

Picture = npt.NDArray[np.uint8]


def main() -> int:
    url = sys.argv[1].rstrip("/")
    content = (IMAGES / "shapes.jpg").read_bytes()
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None

    def call(function: str, **payload: Any) -> Any:
        answer = requests.post(
            f"{url}/api/function_invocations",
            json={"image": base64.b64encode(content).decode(), **payload},
            headers={"x-nuclio-function-name": function},
            timeout=120,
        )
        answer.raise_for_status()
        return answer.json()

    click = call("sam3-interactor", pos_points=[STAR], neg_points=[BESIDE], obj_bbox=None)
    clicked = over(image, np.array(click["mask"], dtype=bool), COLOURS[0])
    for place, colour, sign in ((STAR, GREEN, "+"), (BESIDE, RED, "-")):
        cv2.circle(clicked, place, 11, BLACK, -1, cv2.LINE_AA)
        cv2.circle(clicked, place, 9, colour, -1, cv2.LINE_AA)
        cv2.putText(clicked, sign, (place[0] - 8, place[1] + 6), cv2.FONT_HERSHEY_SIMPLEX, 0.7, BLACK, 2)

    box = call("sam3-interactor", pos_points=[], neg_points=[], obj_bbox=BOX)
    boxed = over(image, np.array(box["mask"], dtype=bool), COLOURS[1])
    dash(boxed)

    found = call("sam3-detector")
    labels = sorted({shape["label"] for shape in found})
    detected = image
    for shape in found:
        detected = over(detected, mask_of(shape, image.shape[:2]), COLOURS[labels.index(shape["label"])])
    for shape in found:
        left, _, _, bottom = shape["mask"][-4:]
        text = f"{shape['label']} {float(shape['confidence']):.2f}"
        place = (min(left, image.shape[1] - 150), bottom - 4)
        for colour, thickness in ((BLACK, 4), (WHITE, 1)):
            cv2.putText(detected, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, thickness, cv2.LINE_AA)

    height = image.shape[0] * WIDTH // image.shape[1]
    parts = [
        cv2.resize(part, (WIDTH, height), interpolation=cv2.INTER_AREA) for part in (clicked, boxed, detected)
    ]
    cv2.imwrite(str(IMAGES / "cvat.webp"), np.hstack(parts), [cv2.IMWRITE_WEBP_QUALITY, 80])
    print(f"{len(found)} shapes of {', '.join(labels)}")
    return 0


def mask_of(shape: dict[str, Any], size: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """A detection's mask [H, W]."""
    left, top, right, bottom = shape["mask"][-4:]
    mask = np.zeros(size, dtype=np.bool_)
    crop = np.array(shape["mask"][:-4], dtype=np.bool_)
    mask[top : bottom + 1, left : right + 1] = crop.reshape(bottom - top + 1, right - left + 1)
    return mask


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
            start = (round(ax + (bx - ax) * part), round(ay + (by - ay) * part))
            end = (round(ax + (bx - ax) * (part + 0.06)), round(ay + (by - ay) * (part + 0.06)))
            cv2.line(image, start, end, WHITE, 2, cv2.LINE_AA)


if __name__ == "__main__":
    sys.exit(main())
