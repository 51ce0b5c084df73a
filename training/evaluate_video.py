"""How well `tiny` follows objects through clips that it was not trained on: `python -m training.evaluate_video`.

Each object that is seen in the first frame is clicked there, once. J is the mean IoU of its masks in all other frames,
F the mean F-measure of their outlines (DAVIS 2017; an outline matches within 0.8 % of the diagonal). A frame in which
the object is not seen counts 1 for an empty mask, and 0 otherwise. An identity switch is a frame in which an object's
mask covers another object more than its own, after one in which it did not. "on another" is the share of all frames in
which it does: one that stays on another object switches once.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from sam3_engine.bundled import BUNDLED_TINY, load_bundled
from sam3_engine.engine import Engine
from sam3_engine.images import decode_picture
from sam3_engine.regions import mask_of_array
from sam3_engine.spec import TINY
from sam3_engine.tracking.sessions import NewObject, Session, Turn, advance
from sam3_engine.types import ImageSize, Point, VisualPrompt
from training.arguments import Parser, bundled_file, whole
from training.held_out_clips import HeldOutClip, draw_held_out_clip

Mask = npt.NDArray[np.bool_]
FRAMES = 60
SMALLEST = 30
"""Pixels from which an object counts as seen."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one clip. overlaps, outlines: J and F of each object and frame; switches, crossings: counts; objects; astray:
    objects and frames in which the mask lies on another object."""

    overlaps: list[float]
    outlines: list[float]
    switches: int
    crossings: int
    objects: int
    astray: int


def evaluate_clip(engine: Engine, clip: HeldOutClip) -> Figures:
    """Follow every object of a clip from one click."""
    size = ImageSize(*clip.owners.shape[1:])
    numbers = [n for n in range(clip.objects) if (clip.owners[0] == n).sum() >= 4 * SMALLEST]
    clicks = [NewObject(VisualPrompt((_middle(clip.owners[0] == number),))) for number in numbers]
    session, overlaps, outlines, switches, astray = Session(), [], [], 0, 0
    switched = dict.fromkeys(numbers, False)
    for frame, pixels in enumerate(clip.frames):
        square = decode_picture(Image.fromarray(pixels), TINY.image_size).square
        features = engine.expand(engine.encode([square])[0])
        turn = Turn(session, features, size, frame, clicks if frame == 0 else [])
        answer = advance(engine, [turn])[0]
        session = answer.session
        if frame == 0:
            continue
        found = {one.id: mask_of_array(one.mask_logits.numpy(), size).full() for one in answer.shown}
        for place, number in enumerate(numbers):
            mask, truth = found[place + 1], clip.owners[frame] == number
            overlaps.append(overlap(mask, truth))
            outlines.append(outline_f(mask, truth))
            now = _belongs_to_another(mask, clip.owners[frame], number)
            switches += now and not switched[number]
            switched[number] = now
            astray += now
    return Figures(overlaps, outlines, switches, clip.crossings, len(numbers), astray)


def summary(figures: Sequence[Figures]) -> dict[str, float]:
    """Means over all objects and frames, and switches for each object and each crossing."""
    overlaps = [value for one in figures for value in one.overlaps]
    outlines = [value for one in figures for value in one.outlines]
    switches = sum(one.switches for one in figures)
    return {
        "J": float(np.mean(overlaps)),
        "F": float(np.mean(outlines)),
        "J&F": float(np.mean(overlaps) + np.mean(outlines)) / 2,
        "switches an object": switches / max(1, sum(one.objects for one in figures)),
        "switches a crossing": switches / max(1, sum(one.crossings for one in figures)),
        "on another": sum(one.astray for one in figures) / max(1, len(overlaps)),
        "crossings": sum(one.crossings for one in figures),
        "objects": sum(one.objects for one in figures),
    }


def overlap(mask: Mask, truth: Mask) -> float:
    """IoU; of two empty masks 1. A truth below SMALLEST pixels is empty."""
    if truth.sum() < SMALLEST:
        return float(mask.sum() < SMALLEST)
    return float((mask & truth).sum() / (mask | truth).sum())


def outline_f(mask: Mask, truth: Mask) -> float:
    """F-measure of the outlines."""
    if truth.sum() < SMALLEST or not mask.any():
        return overlap(mask, truth)
    reach = max(1, round(0.008 * math.hypot(*mask.shape)))
    side = 2 * reach + 1
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.uint8)
    ours, theirs = _outline(mask), _outline(truth)
    precise = (ours & _grown(theirs, ball)).sum() / max(1, ours.sum())
    recalled = (theirs & _grown(ours, ball)).sum() / max(1, theirs.sum())
    return float(2 * precise * recalled / max(1e-9, precise + recalled))


def _outline(mask: Mask) -> Mask:
    inner = cv2.erode(
        mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1
    )
    return np.asarray(mask & (inner == 0))


def _grown(mask: Mask, ball: npt.NDArray[np.uint8]) -> Mask:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), ball) > 0)


def _belongs_to_another(mask: Mask, owners: npt.NDArray[np.int8], number: int) -> bool:
    counts = np.bincount(owners[mask] + 1, minlength=number + 2)[1:]
    return bool(len(counts) and counts.max() > max(counts[number], SMALLEST))


def _middle(mask: Mask) -> Point:
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return Point(float(x) + 0.5, float(y) + 0.5)


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--clips", type=whole(1), default=40, help="of the set")
    parser.add_argument("--first", type=whole(0), default=0, help="number of the first clip")
    parser.add_argument("--frames", type=whole(2), default=FRAMES, help="of a clip")
    parser.add_argument("--weights", type=bundled_file, default=BUNDLED_TINY, help="a bundled file")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="float32", help="number format of the model"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    engine = Engine.from_state(load_bundled(args.weights), TINY, device="cpu", dtype=args.dtype, video=True)
    figures: list[Figures] = []
    for seed in range(args.first, args.first + args.clips):
        figures.append(evaluate_clip(engine, draw_held_out_clip(seed, args.frames)))
        if len(figures) % 10 == 0 or len(figures) == args.clips:
            told = {name: round(value, 3) for name, value in summary(figures).items()}
            which = {"first": args.first, "clips": len(figures), "dtype": args.dtype}
            print(json.dumps({**which, **told}), flush=True)


if __name__ == "__main__":
    main()
