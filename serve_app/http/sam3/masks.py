"""Masks in answers: their formats, their fields, and their schemas in the OpenAPI document."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import orjson
from fastapi import Response
from pydantic import Field

from deployments.protocol import Answer
from deployments.results import JsonText
from sam3_engine.types import Instance, MaskFormat
from serve_app.http.errors import UnsupportedFormat
from serve_app.http.schemas import ResponseModel

PolygonPoint = Annotated[list[float], Field(min_length=2, max_length=2)]
Polygon = list[PolygonPoint]


class Rle(ResponseModel):
    """A mask in COCO's compressed run-length encoding, column-major."""

    size: Annotated[list[int], Field(min_length=2, max_length=2)]
    """[height, width] of the upright image."""
    counts: str
    """The runs, as pycocotools writes them."""


class PolygonWithHoles(ResponseModel):
    """A connected part of a mask with its holes."""

    outer: Polygon
    """The outer contour."""
    holes: list[Polygon]
    """The contours of its holes."""


class ResultBox(ResponseModel):
    """A box by its corners, in absolute pixels of the upright image."""

    x0: float
    y0: float
    x1: float
    y1: float


class ResponseOfImage(ResponseModel):
    """The fields of every answer about an image."""

    time: float
    """Seconds for the answer, including the reading of the image."""
    image_id: str | None = None
    """The image's name, for later requests."""
    width: int | None = None
    """Width of the upright image, in pixels."""
    height: int | None = None
    """Height of the upright image, in pixels."""


Masks = list[Polygon] | Rle | list[PolygonWithHoles]


class Prediction(ResponseModel):
    """One mask."""

    format: str
    """`polygon`, `rle` or `polygon_holes`."""
    confidence: float
    """Score of the mask, from 0 to 1."""
    masks: Masks
    """polygon: a list of polygons, each a list of [x, y] in pixels. rle, polygon_holes: see their schemas."""
    box: ResultBox | None = None
    """The mask's own bounding box, within the image; x1 and y1 are exclusive. All zero for a mask without pixels."""
    area: int | None = None
    """Number of pixels of the mask."""


def mask_format(formats: Mapping[str, MaskFormat], name: str) -> MaskFormat:
    """The engine's name of the format that a request names. Raises UnsupportedFormat."""
    try:
        return formats[name]
    except KeyError:
        raise UnsupportedFormat(name, list(formats)) from None


def prediction(instance: Instance, name: MaskFormat) -> dict[str, Any]:
    """One mask. `box` (corners) and `area` are additions to the hosted API's fields."""
    x0, y0, x1, y1 = instance.box
    masks = instance.masks
    return {
        "format": name,
        "confidence": instance.score,
        "masks": orjson.Fragment(masks.text) if isinstance(masks, JsonText) else masks,
        "box": {"x0": x0, "y0": y0, "x1": x1, "y1": y1},
        "area": instance.area,
    }


def of_image(answer: Answer[Any], seconds: float) -> dict[str, Any]:
    """The fields of `ResponseOfImage`."""
    height, width = answer.size
    return {"time": seconds, "image_id": answer.image_id, "width": width, "height": height}


def answer_json(bodies: Sequence[dict[str, Any]], listed: bool) -> Response:
    """One body, or a list of bodies when the request has a list of images."""
    return Response(dump(list(bodies) if listed else bodies[0]), media_type="application/json")


def dump(content: Any) -> bytes:
    """A part of an answer as JSON."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
