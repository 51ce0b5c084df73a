"""How objects are followed on the device: as on the CPU, and at what part of encoding's rate."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from bench.gpu.right import Verdict, overlap
from bench.gpu.setting import Setting, square
from bench.gpu.speed import Figure, measured
from bench.video.drawn import SETTLED, clicks, frames_of, remembering
from sam3_engine.engine import Engine
from sam3_engine.spec import TINY
from sam3_engine.tracking.passes import StepItem, step
from sam3_engine.tracking.sessions import NewObject, Session, Turn, advance
from sam3_engine.types import ImageSize

FRAMES = 8
FOLLOWED = 4
"""Objects that are compared."""


def as_on_the_cpu(asked: Setting) -> list[Verdict]:
    """The masks of discs that are followed with the bundled weights, against float32 on the CPU."""
    theirs = _followed(asked.follower(TINY, trained=True, reference=True))
    ours = _followed(asked.follower(TINY, trained=True))
    ious = [overlap(one > 0, other > 0) for one, other in zip(ours, theirs, strict=True)]
    shown = f"mean {np.mean(ious):.4f}, least {min(ious):.4f} of {len(ious)}"
    return [Verdict("tiny, bundled weights: followed masks' IoU", float(np.mean(ious)) >= 0.95, shown)]


def _followed(engine: Engine) -> list[torch.Tensor]:
    """Mask logits of each object in each frame."""
    side = engine.spec.image_size
    size = ImageSize(side, side)
    new = [NewObject(click) for click in clicks(engine, FOLLOWED)]
    features = [engine.expand(embedding) for embedding in engine.encode(frames_of(engine))]
    session, found = Session(), []
    for number in range(FRAMES):
        turn = Turn(session, features[number % len(features)], size, number, [] if number else new)
        answer = advance(engine, [turn])[0]
        session = answer.session
        found += [one.mask_logits for one in answer.shown]
    return found


def takes(asked: Setting, counts: Sequence[int]) -> Iterator[Figure]:
    """A frame's encode, end to end, alone and with a step of objects that have full memories."""
    engine = asked.follower(asked.spec, trained=False)
    pixels = [square(engine.spec, 1)]
    states = remembering(engine, engine.expand(engine.encode(pixels)[0]), max(counts))

    def frame(count: int) -> None:
        features = engine.expand(engine.encode(pixels)[0])
        if count:
            step(engine, [StepItem(features, states[:count], SETTLED)])

    for count in (0, *counts):
        yield measured(asked, f"a frame of a video, {count} followed", 1, partial(frame, count))
