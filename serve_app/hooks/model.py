"""The model behind the hooks. An image is a Pillow image, upright; masks are bool arrays [H, W] of its size."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_engine.errors import EngineError
from sam3_engine.rle import from_rle
from sam3_engine.types import Box
from serve_app.cli.backends import Backend, Local, Server
from serve_app.cli.question import Document, Question
from serve_app.settings import Settings

DEFAULT_THRESHOLD = 0.5


class ModelError(Exception):
    """The model cannot answer. The message says why, in one line."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """An instance. score: from 0 to 1. mask: bool [H, W]."""

    score: float
    mask: npt.NDArray[np.bool_]

    def box(self) -> Box:
        """(x0, y0, x1, y1) around the mask, x1 and y1 exclusive; all zero for a mask without pixels."""
        ys, xs = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        if not len(xs):
            return (0.0, 0.0, 0.0, 0.0)
        return (float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1))


class Model:
    """Answers phrases and clicks. Raises ModelError."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def concepts(
        self, content: bytes, phrases: Sequence[str], threshold: float = DEFAULT_THRESHOLD
    ) -> list[list[Found]]:
        """Every instance in an image file: a list for each phrase, highest score first."""
        prompts = Question(texts=phrases).concepts()
        try:
            answers = self._backend.concepts(content, prompts, threshold)
        except (click.ClickException, EngineError, ValueError) as error:
            raise _as_model_error(error) from error
        return [[_found(one) for one in answer.predictions] for answer in answers]

    def object(
        self,
        content: bytes,
        points: Sequence[tuple[float, float]] = (),
        not_points: Sequence[tuple[float, float]] = (),
        box: Box | None = None,
    ) -> Found:
        """The object under clicks and in a box, in pixels, of an image file."""
        prompts = Question(points=points, not_points=not_points, box=box).clicks()
        if not prompts:
            raise ModelError("a click or a box is needed")
        try:
            (one,) = self._backend.clicks(content, prompts)
        except (click.ClickException, EngineError, ValueError) as error:
            raise _as_model_error(error) from error
        return _found(one)


def model_of(url: str = "", key: str = "", model: str = "tiny", model_id: str = "") -> Model:
    """The server at a URL; without one, a model of this name (`tiny`, `sam3`) in this process. Raises ModelError.

    model_id: which one of the server's models is asked; empty: its default.
    """
    if model_id and not url:
        raise ModelError("model_id chooses a model of a server: give its url too")
    try:
        if url:
            return Model(Server(url.rstrip("/"), key or None, model_id or None))
        return Model(Local(Settings(model=cast("Any", model))))
    except (click.ClickException, EngineError, ValueError) as error:
        raise _as_model_error(error) from error


def file_of(image: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file, which loses nothing: the same picture has the same digest."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG", compress_level=1)
    return file.getvalue()


def _found(one: Document) -> Found:
    return Found(float(one["confidence"]), from_rle(one["masks"]))


def _as_model_error(error: Exception) -> ModelError:
    return ModelError(error.format_message() if isinstance(error, click.ClickException) else str(error))
