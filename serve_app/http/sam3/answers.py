"""What answers look like: the models behind the OpenAPI document's responses."""

from typing import Annotated, Literal

from pydantic import Field

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


Masks = list[Polygon] | Rle | list[PolygonWithHoles]


class Prediction(ResponseModel):
    """One mask."""

    format: str
    """`polygon`, `rle` or `polygon_holes`."""
    confidence: float
    """Score of the mask, from 0 to 1."""
    masks: Masks
    """polygon: a list of polygons, each a list of [x, y] in pixels. rle, polygon_holes: see there."""
    box: ResultBox | None = None
    """The instance's box."""
    area: int | None = None
    """Number of pixels of the mask."""


class Sam3SegmentationPrediction(Prediction):
    """One instance of a concept."""


class Sam3PromptEcho(ResponseModel):
    """Which prompt a result is about."""

    prompt_index: int | None = None
    type: str | None = None
    """`visual` when the prompt has boxes, else `text`."""
    text: str | None = None
    """The prompt's text."""
    num_boxes: int | None = None
    """How many boxes the prompt has."""


class Sam3PromptResult(ResponseModel):
    """The instances of one concept, by confidence, highest first."""

    prompt_index: int
    """Index of the prompt in the request."""
    echo: Sam3PromptEcho | None = None
    """What was asked."""
    predictions: list[Sam3SegmentationPrediction]
    """The instances."""


class Sam3SegmentationResponse(ResponseModel):
    """One result per concept, in the order of the prompts."""

    prompt_results: list[Sam3PromptResult]
    """One per prompt."""
    time: float
    """Seconds that the answer took, reading the image included."""
    image_id: str | None = None
    """The name under which later requests find the image."""


class Sam2SegmentationPrediction(Prediction):
    """The mask of one prompt: the model's best proposal."""


class Sam2PromptResult(ResponseModel):
    """The mask of one prompt."""

    prompt_index: int
    """Index of the prompt in the request."""
    predictions: list[Sam2SegmentationPrediction]
    """One mask."""


class Sam2SegmentationResponse(ResponseModel):
    """One mask per prompt, in the order of the prompts."""

    prompt_results: list[Sam2PromptResult]
    """One per prompt."""
    predictions: list[Sam2SegmentationPrediction] = Field(default_factory=list)
    """The same masks in one list, as inference-sdk reads them."""
    time: float
    """Seconds that the answer took, reading the image included."""
    image_id: str | None = None
    """The name under which later requests find the image."""


class KeptImageInfo(ResponseModel):
    """An image that the server keeps, under one of its ids."""

    image_id: str
    """Requests that send it need no image."""
    width: int
    """Of the upright image, in pixels."""
    height: int
    """Of the upright image, in pixels."""
    bytes: int
    """Size of the image file as it came; 0 when it is not kept any more."""
    embedding_bytes: int
    """Size of its embedding in the object store; 0 when it would be encoded again."""
    tier: Literal["hot", "warm", "cold"]
    """How fast the next request is answered: from a decoder's memory, from the object store, or after encoding."""
    age: float
    """Seconds since the image was first sent."""


class KeptImages(ResponseModel):
    """The images of one tenant."""

    images: list[KeptImageInfo]
    """Newest first."""
    time: float
    """Seconds that the answer took."""


class DeletedImage(ResponseModel):
    """What was deleted."""

    image_id: str
    """The id that was asked for. The image is gone under its other ids as well."""
    time: float
    """Seconds that the answer took."""


class ServerInfo(ResponseModel):
    """Which server answers."""

    name: str
    version: str
    uuid: str
    """Made anew when the server starts."""
    model: str
    """Which weights answer."""
    note: str | None = None
    """What to know of the model."""


class Status(ResponseModel):
    """Whether the server works."""

    status: str
