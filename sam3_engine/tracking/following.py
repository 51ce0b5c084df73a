"""A video's frames, one after another: each is resized, encoded and tracked."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from PIL import Image

from sam3_engine.engine import Engine
from sam3_engine.images import decode_picture
from sam3_engine.tracking.sessions import Answer, NewObject, Session, Turn, advance
from sam3_engine.video_files.reading import Frame

AT_ONCE = 8
"""Frames that a GPU encodes in one batch. On a CPU, a batch saves nothing."""


def follow(
    engine: Engine,
    frames: Iterable[Frame],
    session: Session,
    new: Callable[[Frame], Sequence[NewObject]] = lambda _: (),
) -> Iterator[tuple[Frame, Answer]]:
    """Each frame with its answer, which holds the session to go on from.

    frames: later ones than the session's. new: the objects whose prompts lie in a frame. Raises the errors of `advance`
    and of whatever gives the frames.
    """
    at_once = AT_ONCE if engine.device.type == "cuda" else 1
    side = engine.spec.image_size
    coming = iter(frames)
    while batch := list(islice(coming, at_once)):
        squares = [decode_picture(Image.fromarray(frame.pixels), side).square for frame in batch]
        for frame, embedding in zip(batch, engine.encode(squares), strict=True):
            turn = Turn(session, engine.expand(embedding), frame.size, frame.number, new(frame))
            answer = advance(engine, [turn])[0]
            session = answer.session
            yield frame, answer
