"""Bodies and answers of the dashboard, as CVAT 2.x writes and reads them."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from serve_app.http.schemas import MAX_POINTS, Coordinate, RequestModel, ResponseModel, Threshold

Pair = Annotated[list[Coordinate], Field(min_length=2, max_length=2)]
Points = Annotated[list[Pair], Field(fail_fast=True, max_length=MAX_POINTS)]


def _corners(value: Any) -> Any:
    """Two corners, or their four numbers in one list; an empty list is no box."""
    if isinstance(value, list) and len(value) == 4:
        return [value[:2], value[2:]]
    if isinstance(value, list) and len(value) not in (0, 2):
        raise PydanticCustomError("box", "a box is [[x0, y0], [x1, y1]], or empty")
    return value or None


class CvatImage(RequestModel):
    """What every call of a function has."""

    image: str
    """The frame's file, in base64."""


class CvatInteraction(CvatImage):
    """One object, by clicks and/or a box, in pixels."""

    pos_points: Points | None = None
    neg_points: Points | None = None
    obj_bbox: Annotated[Points | None, BeforeValidator(_corners, json_schema_input_type=Points | None)] = None
    """[[x0, y0], [x1, y1]]."""


class CvatDetection(CvatImage):
    """Every instance of the function's labels."""

    threshold: Threshold | None = None


class CvatFunction(ResponseModel):
    """A function as the dashboard describes it."""

    metadata: dict[str, Any]
    spec: dict[str, Any]
    status: dict[str, Any]


class CvatInteractionAnswer(ResponseModel):
    """A mask."""

    points: list[list[float]]
    """The outline of its largest part, [x, y] in pixels."""
    mask: list[list[int]]
    """0 and 1 for each pixel of the image, row by row."""


class CvatDetected(ResponseModel):
    """An instance of a label."""

    label: str
    type: str
    points: list[float]
    """The outline of its largest part: x, y, x, y, ..."""
    mask: list[int]
    """0 and 1 for each pixel of its box, row by row, then the box: left, top, right, bottom, all inclusive."""
    confidence: str
    attributes: list[dict[str, Any]]


class CvatError(ResponseModel):
    """An error."""

    error: str
