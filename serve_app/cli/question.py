"""The prompts of `sam3-serve segment`, in the form of the HTTP API."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from sam3_engine.prompt_forms import Sam3Prompt, visual_prompts
from sam3_engine.prompt_values import check_inside
from sam3_engine.types import ImageSize

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """The prompts about an image. Boxes (x0, y0, x1, y1) and points (x, y) are in pixels."""

    texts: Sequence[str] = ()
    like: Sequence[tuple[float, ...]] = ()
    unlike: Sequence[tuple[float, ...]] = ()
    points: Sequence[tuple[float, ...]] = ()
    not_points: Sequence[tuple[float, ...]] = ()
    box: tuple[float, ...] | None = None
    threshold: float = 0.5

    def concepts(self) -> list[Document]:
        """Concept prompts: one for each text, or one for all example boxes."""
        boxes = [dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)) for box in (*self.like, *self.unlike)]
        labels = [1] * len(self.like) + [0] * len(self.unlike)
        shown = {"boxes": boxes, "box_labels": labels} if boxes else {}
        kind = "visual" if boxes else "text"
        if self.texts:
            return [{"type": kind, "text": text, **shown} for text in self.texts]
        return [{"type": kind, **shown}] if boxes else []

    def check(self, size: ImageSize) -> None:
        """Raises click.UsageError for prompts that mean nothing for an image of this size, and without any."""
        concepts, clicks = self.concepts(), self.clicks()
        if not concepts and not clicks:
            raise click.UsageError("say what to look for: --text, --like, --point or --box")
        try:
            check_inside([Sam3Prompt.of(prompt).concept(self.threshold) for prompt in concepts], size)
            check_inside(visual_prompts(clicks), size)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    def clicks(self) -> list[Document]:
        """The click prompt, as a list of one; an empty list without points and box."""
        clicks = [(point, True) for point in self.points] + [(point, False) for point in self.not_points]
        prompt: Document = {}
        if clicks:
            prompt["points"] = [{"x": x, "y": y, "positive": positive} for (x, y), positive in clicks]
        if self.box:
            x0, y0, x1, y1 = self.box
            centre = {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2}
            prompt["box"] = {**centre, "width": x1 - x0, "height": y1 - y0}
        return [prompt] if prompt else []
