"""Bodies and answers of the dashboard, as CVAT 2.x writes and reads them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from deployments.video.protocol import MOST_OBJECTS
from sam3_engine.types import Box
from serve_app.http.schemas import (
    MAX_POINTS,
    WHOLE,
    Coordinate,
    RequestModel,
    ResponseModel,
    Threshold,
)

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


class CvatShape(RequestModel):
    """A shape to follow, in pixels."""

    type: Literal["rectangle", "polygon"]
    points: Annotated[list[Coordinate], Field(fail_fast=True, min_length=4, max_length=2 * MAX_POINTS)]
    """x, y, x, y, ...: two corners, or the outline."""

    @model_validator(mode="after")
    def _has_pairs(self) -> Self:
        if len(self.points) % 2 or (self.type == "rectangle" and len(self.points) != 4):
            raise PydanticCustomError("shape", "points are x, y, x, y, ...; a rectangle has two")
        return self

    def box(self) -> Box:
        """(x0, y0, x1, y1) around it."""
        xs, ys = self.points[::2], self.points[1::2]
        return min(xs), min(ys), max(xs), max(ys)


class CvatState(RequestModel):
    """The state of a shape, as this server gave it with the frame before."""

    session: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    object: Annotated[int, Field(ge=1), WHOLE]
    frame: Annotated[int, Field(ge=0, le=10**9), WHOLE]
    type: Literal["rectangle", "polygon"]


class CvatTracking(CvatImage):
    """Shapes to follow from this frame on, or states of shapes to find in it; null where an object has the other."""

    shapes: Annotated[list[CvatShape | None], Field(max_length=MOST_OBJECTS)] | None = None
    states: Annotated[list[CvatState | None], Field(max_length=MOST_OBJECTS)] | None = None


class CvatTracked(ResponseModel):
    """The followed shapes; null for an object that is not seen. States are for the next frame."""

    shapes: list[dict[str, Any] | None]
    states: list[dict[str, Any]]


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
