"""What a run of `sam3-serve track` is asked for. Needs no torch, so that mistakes are told at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from sam3_engine.prompt_values import check_inside, utf8
from sam3_engine.types import Box, ImageSize, Point, VisualPrompt


@dataclass(frozen=True, slots=True)
class Asked:
    """Texts, clicks and boxes. Points are of one object; each box is of one. With a single box, the points are of its
    object. frame: the one that points and boxes lie in. every: frames from one detection to the next."""

    texts: Sequence[str] = ()
    points: Sequence[Point] = ()
    boxes: Sequence[Box] = ()
    frame: int = 0
    threshold: float = 0.5
    every: int = 10

    def __post_init__(self) -> None:
        if not (self.texts or self.points or self.boxes):
            raise ValueError("say what to follow: --text, --point or --box")
        if self.points and len(self.boxes) > 1:
            raise ValueError("points go with one box at most: they are of one object")
        if self.points and not any(point.positive for point in self.points) and not self.boxes:
            raise ValueError("the object needs a point that belongs to it: --point")

    def prompts(self, size: ImageSize) -> list[VisualPrompt]:
        """The prompts of points and boxes, one for each object. Raises ValueError where one lies outside a frame of
        this size."""
        prompts = [VisualPrompt(box=box) for box in self.boxes]
        if self.points:
            prompts = [VisualPrompt(tuple(self.points), self.boxes[0] if self.boxes else None)]
        check_inside(prompts, size)
        return prompts


def asked_for(
    texts: Sequence[str],
    points: Sequence[tuple[float, ...]],
    not_points: Sequence[tuple[float, ...]],
    boxes: Sequence[tuple[float, ...]],
    frame: int,
    threshold: float,
    every: int,
) -> Asked:
    """The same from the numbers of a command line: points (x, y), boxes (x0, y0, x1, y1). Raises ValueError."""
    for text in texts:
        if not utf8(text, "--text").strip():
            raise ValueError("--text is empty")
    clicks = [Point(x, y, True) for x, y in points] + [Point(x, y, False) for x, y in not_points]
    sides = [(x0, y0, x1, y1) for x0, y0, x1, y1 in boxes]
    return Asked(tuple(texts), tuple(clicks), tuple(sides), frame, threshold, every)
