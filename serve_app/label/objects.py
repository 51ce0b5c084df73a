"""Third step: candidates become objects with masks in the pixels of their image. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sam3_engine.nms import keep_by_mask_iou
from sam3_engine.rle import Rle, to_rle
from sam3_engine.types import Box, ImageSize
from serve_app.label.candidates import mask_of
from serve_app.label.classes import LabelClass
from serve_app.label.labeller import Prompt, prompts_of
from serve_app.label.rows import LABELLED

SAME_OBJECT = 0.5
"""IoU of masks beyond which two phrases of one class have found the same object."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which candidates become objects. nms: of two objects, of whatever classes, whose masks overlap by more than this
    IoU, the one of the lower score is left out; None keeps both. smallest: least area, in pixels."""

    nms: float | None = 0.7
    smallest: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What a prompt has found in an image: a mask and its score. box: see `types.Box`. area: pixels."""

    prompt: Prompt
    score: float
    box: Box
    area: int
    rle: Rle

    def fields(self) -> dict[str, Any]:
        """As `rows.OBJECT` has them."""
        counts = self.rle["counts"]
        return {
            "class": self.prompt.of.name,
            "score": self.score,
            "box": self.box,
            "area": self.area,
            "rle": counts,
        }


class FindObjects:
    """A batch function: tables of `rows.FOUND` to `rows.LABELLED`, the format of a data set's parts."""

    def __init__(self, classes: Sequence[LabelClass], rules: Rules | None = None) -> None:
        self._prompts = prompts_of(classes)
        self._rules = rules or Rules()

    def __call__(self, table: pa.Table) -> pa.Table:
        """One row an image, in their order."""
        objects = [
            None if row["error"] is not None else self._objects(row)
            for row in table.drop_columns("model").to_pylist()
        ]
        column = pa.array(objects, LABELLED.field("objects").type)
        found = table.drop_columns("candidates").append_column("objects", column)
        return found.select(LABELLED.names).cast(LABELLED)

    def _objects(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        size = ImageSize(row["height"], row["width"])
        found = []
        for candidate in row["candidates"]:
            mask = mask_of(candidate, size)
            if mask.area >= max(1, self._rules.smallest):
                prompt = self._prompts[candidate["prompt"]]
                found.append(Found(prompt, candidate["score"], mask.box, mask.area, to_rle(mask)))
        return [one.fields() for one in objects_of(found, self._rules.nms)]


def objects_of(found: Sequence[Found], nms: float | None) -> list[Found]:
    """The objects of one image, highest score first. nms: as in Rules."""
    objects: list[Found] = []
    for one in dict.fromkeys(each.prompt.of for each in found):
        objects += _of_class([each for each in found if each.prompt.of == one])
    objects.sort(key=lambda one: -one.score)
    return objects if nms is None else _apart(objects, nms)


def _of_class(found: list[Found]) -> list[Found]:
    """One object for each that several phrases found, without what is rather one of the negative phrases'."""
    if len({one.prompt for one in found}) > 1:
        found = _apart(found, SAME_OBJECT)
    return [one for one in found if not one.prompt.negative]


def _apart(found: list[Found], iou: float) -> list[Found]:
    kept = keep_by_mask_iou([one.score for one in found], [one.rle for one in found], iou)
    return [found[index] for index in kept]
