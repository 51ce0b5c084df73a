"""The routes of the remote server: `XANYLABELING_SERVER_URL` is this server's address."""

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from deployments.protocol import ConceptRequest, VisualRequest
from sam3_engine.types import Box, ConceptPrompt, Instance, Point, VisualPrompt
from serve_app.http.caller import tenant_of
from serve_app.http.context import HttpContext, context_of
from serve_app.http.errors import InvalidRequest, UnknownModel
from serve_app.http.reading.images import Base64Image
from serve_app.http.sam3.examples import CIRCLE_PNG
from serve_app.http.sam3.masks import dump
from serve_app.http.tools.asking import Asking, read_asking, threshold_of
from serve_app.http.tools.documented import documented
from serve_app.http.tools.route import tool_router
from serve_app.http.tools.x_anylabeling.models import CLICKS, CONCEPTS, Listed, listed
from serve_app.http.tools.x_anylabeling.schemas import (
    XAnyLabelingAnswer,
    XAnyLabelingError,
    XAnyLabelingMark,
    XAnyLabelingModels,
    XAnyLabelingParams,
    XAnyLabelingPredict,
)
from serve_app.http.tools.x_anylabeling.shapes import UNNAMED, phrases_in, shapes_of
from serve_app.models import ServedModel

CODES = {401: "UNAUTHORIZED", 404: "MODEL_NOT_FOUND", 400: "INVALID_IMAGE", 503: "QUEUE_FULL"}
OF_ERRORS = {"UnknownSession": "SESSION_NOT_FOUND", "NoSuchTask": "TASK_NOT_FOUND"}
MOST_PHRASES = 64
_IMAGE = f"data:image/png;base64,{CIRCLE_PNG}"
EXAMPLES: dict[str, Any] = {
    "text": {
        "summary": "Everything that phrases name",
        "value": {"model": CONCEPTS, "image": _IMAGE, "params": {"text_prompt": "red circle, blue star"}},
    },
    "click": {
        "summary": "The object under a click",
        "value": {
            "model": CLICKS,
            "image": _IMAGE,
            "params": {"marks": [{"type": "point", "data": [44, 48], "label": 1}]},
        },
    },
}

Found = list[tuple[str, Instance]]


def error_form(status: int, message: str, name: str) -> dict[str, Any]:
    """An error's body."""
    code = OF_ERRORS.get(name) or CODES.get(status, "INFERENCE_ERROR")
    return {"success": False, "error": {"code": code, "message": message}}


router = tool_router("X-AnyLabeling")


@router.get("/v1/models", **documented("X-AnyLabeling: the models", XAnyLabelingModels, XAnyLabelingError))
async def models(request: Request) -> Response:
    """The models, with the controls that the program shows."""
    context = context_of(request)
    tenant_of(request, context.keys)
    data = {name: one.described() for name, one in listed_for(context).items()}
    return JSONResponse({"success": True, "data": data})


@router.post(
    "/v1/predict",
    **documented(
        "X-AnyLabeling: the shapes of an image",
        XAnyLabelingAnswer,
        XAnyLabelingError,
        XAnyLabelingPredict,
        EXAMPLES,
    ),
)
async def predict(request: Request) -> Response:
    """Shapes for phrases, for example rectangles, or for clicks and a box, by the model that is asked."""
    asking = await read_asking(request)
    fields = asking.fields(XAnyLabelingPredict)
    there = listed_for(asking.context)
    if fields.model not in there:
        raise UnknownModel(f"there is no such model: the models are {', '.join(there)}")
    use, model = there[fields.model].use, there[fields.model].model
    if (
        use == "video"
    ):  # the program asks so for an image without a prompt: nothing is found, and nothing replaced
        return JSONResponse({"success": True, "data": {"shapes": [], "description": "", "replace": False}})
    clicks = use == "clicks"
    image = Base64Image(fields.image)
    params = fields.params
    marks = params.marks or []
    if clicks:
        found = await _object(asking, image, _one_object(marks), model)
    elif marks:
        found = await _like(asking, image, marks, params, model)
    else:
        found = await _phrases(asking, image, params, model)
    shapes = await asyncio.to_thread(shapes_of, found, params)
    data: dict[str, Any] = {"shapes": shapes, "description": ""}
    if clicks:
        data["replace"] = False  # the mask of the last clicks alone, not the image's other shapes
    return Response(dump({"success": True, "data": data}), media_type="application/json")


def listed_for(context: HttpContext) -> dict[str, Listed]:
    """The models that this server lists."""
    return listed(context.models, video=context.settings.tracks_videos)


def _one_object(marks: Sequence[XAnyLabelingMark]) -> VisualPrompt:
    points = tuple(_point(mark) for mark in marks if mark.type == "point")
    boxes = [_box(mark) for mark in marks if mark.type == "rectangle" and mark.label]
    if not points and not boxes:
        raise InvalidRequest.one("a click or a rectangle is needed", "params", "marks")
    return VisualPrompt(points, boxes[-1] if boxes else None)


async def _object(asking: Asking, image: Base64Image, prompt: VisualPrompt, model: ServedModel) -> Found:
    await asking.enter([image])
    answer = await asking.ask(image, VisualRequest(prompts=[prompt], mask_format="rle"), model)
    return [(UNNAMED, instance) for instance in answer.results]


async def _like(
    asking: Asking,
    image: Base64Image,
    marks: Sequence[XAnyLabelingMark],
    params: XAnyLabelingParams,
    model: ServedModel,
) -> Found:
    """Every instance like the rectangles of label 1 and unlike those of label 0; a text beside them counts too."""
    rectangles = [mark for mark in marks if mark.type == "rectangle"]
    if not rectangles:
        raise InvalidRequest.one(
            f"a rectangle is needed: {CLICKS} is the model for clicks", "params", "marks"
        )
    text = (params.text_prompt or "").strip() or None
    prompt = ConceptPrompt(
        text,
        tuple(_box(mark) for mark in rectangles),
        tuple(mark.label for mark in rectangles),
        threshold_of(model, params.conf_threshold),
    )
    await asking.enter([image])
    request = ConceptRequest(
        prompts=[prompt], mask_format="rle", nms_iou_threshold=params.iou_threshold or None
    )
    answer = await asking.ask(image, request, model)
    return [(text or UNNAMED, instance) for instance in answer.results[0].instances]


async def _phrases(
    asking: Asking, image: Base64Image, params: XAnyLabelingParams, model: ServedModel
) -> Found:
    phrases = phrases_in(params.text_prompt or "")
    if not phrases:
        raise InvalidRequest.one("a phrase, or a rectangle in marks, is needed", "params", "text_prompt")
    if len(phrases) > MOST_PHRASES:
        raise InvalidRequest.one(f"it has more than {MOST_PHRASES} phrases", "params", "text_prompt")
    await asking.enter([image])
    threshold = threshold_of(model, params.conf_threshold)
    results = await asking.ask_phrases(image, phrases, threshold, model, params.iou_threshold or None)
    return [
        (phrase, instance)
        for phrase, result in zip(phrases, results, strict=True)
        for instance in result.instances
    ]


def _numbers(mark: XAnyLabelingMark, count: int) -> list[float]:
    if len(mark.data) != count:
        raise InvalidRequest.one(f"a {mark.type} has {count} numbers", "params", "marks")
    return mark.data


def _point(mark: XAnyLabelingMark) -> Point:
    x, y = _numbers(mark, 2)
    return Point(x, y, mark.label)


def _box(mark: XAnyLabelingMark) -> Box:
    x0, y0, x1, y1 = _numbers(mark, 4)
    return (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
