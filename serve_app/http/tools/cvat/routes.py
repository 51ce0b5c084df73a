"""The dashboard's routes, as CVAT's server calls them with `CVAT_NUCLIO_INVOKE_METHOD=dashboard`."""

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from deployments.protocol import VisualRequest
from sam3_engine.types import ConceptResult, Point, VisualPrompt
from serve_app.http.caller import tenant_of
from serve_app.http.context import context_of
from serve_app.http.errors import InvalidRequest, NoSuchFunction
from serve_app.http.reading.images import Base64Image
from serve_app.http.sam3.examples import CIRCLE_PNG
from serve_app.http.sam3.masks import dump
from serve_app.http.tools.asking import Asking, read_asking, threshold_of
from serve_app.http.tools.cvat.functions import DETECTOR, INTERACTOR, TRACKER, functions, phrases
from serve_app.http.tools.cvat.schemas import (
    CvatDetected,
    CvatDetection,
    CvatError,
    CvatFunction,
    CvatInteraction,
    CvatInteractionAnswer,
    CvatTracked,
    CvatTracking,
)
from serve_app.http.tools.cvat.shapes import detected, interaction
from serve_app.http.tools.cvat.tracking import track
from serve_app.http.tools.documented import documented
from serve_app.http.tools.route import tool_router
from serve_app.models import ServedModel

EXAMPLES: dict[str, Any] = {
    "click": {
        "summary": "A click, for x-nuclio-function-name: sam3-interactor",
        "value": {"image": CIRCLE_PNG, "pos_points": [[44, 48]], "neg_points": [], "obj_bbox": None},
    },
    "labels": {
        "summary": "All labels, for x-nuclio-function-name: sam3-detector",
        "value": {"image": CIRCLE_PNG, "threshold": 0.5},
    },
    "track": {
        "summary": "A shape to follow from this frame on, for x-nuclio-function-name: sam3-tracker",
        "value": {
            "image": CIRCLE_PNG,
            "shapes": [{"type": "rectangle", "points": [24, 28, 64, 68]}],
            "states": [],
        },
    },
}
NAME_HEADER: dict[str, Any] = {
    "name": "x-nuclio-function-name",
    "in": "header",
    "required": True,
    "schema": {"type": "string"},
    "description": f"The function: `{INTERACTOR}`, `{DETECTOR}`, `{TRACKER}`, or another one of `/api/functions`.",
}


def error_form(_status: int, message: str, _name: str) -> dict[str, Any]:
    """An error's body."""
    return {"error": message}


router = tool_router("CVAT")


@router.get("/api/functions", **documented("CVAT: the functions by name", dict[str, CvatFunction], CvatError))
async def list_functions(request: Request) -> Response:
    """The functions that CVAT may call."""
    context = context_of(request)
    tenant_of(request, context.keys)
    there = functions(context.settings, context.models)
    return JSONResponse({name: function.item for name, function in there.items()})


@router.get("/api/functions/{name}", **documented("CVAT: one function", CvatFunction, CvatError))
async def get_function(request: Request, name: str) -> Response:
    """A function that CVAT may call."""
    context = context_of(request)
    tenant_of(request, context.keys)
    there = functions(context.settings, context.models)
    if name not in there:
        raise NoSuchFunction(list(there))
    return JSONResponse(there[name].item)


@router.post(
    "/api/function_invocations",
    **documented(
        "CVAT: call a function",
        CvatInteractionAnswer | list[CvatDetected] | CvatTracked,
        CvatError,
        CvatInteraction,
        EXAMPLES,
        parameters=[NAME_HEADER],
        alternatives=[CvatDetection, CvatTracking],
    ),
)
async def invoke(request: Request) -> Response:
    """Call the function that the header `x-nuclio-function-name` names."""
    asking = await read_asking(request)
    there = functions(asking.context.settings, asking.context.models)
    name = request.headers.get("x-nuclio-function-name", "")
    if name not in there:
        raise NoSuchFunction(list(there))
    function = there[name]
    body: Any
    match function.kind:
        case "interactor":
            body = await _interact(asking, function.model)
        case "tracker":
            body = await track(asking)
        case _:
            body = await _detect(asking, function.model)
    return Response(await asyncio.to_thread(dump, body), media_type="application/json")


async def _interact(asking: Asking, model: ServedModel) -> dict[str, Any]:
    fields = asking.fields(CvatInteraction)
    points = [Point(x, y, True) for x, y in fields.pos_points or ()]
    points += [Point(x, y, False) for x, y in fields.neg_points or ()]
    box = None
    if fields.obj_bbox:
        (x0, y0), (x1, y1) = fields.obj_bbox
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    if not points and box is None:
        raise InvalidRequest.one("a click or a box is needed", "pos_points")
    image = Base64Image(fields.image)
    await asking.enter([image])
    request = VisualRequest(prompts=[VisualPrompt(tuple(points), box)], mask_format="rle")
    answer = await asking.ask(image, request, model)
    return await asyncio.to_thread(interaction, answer.results[0])


async def _detect(asking: Asking, model: ServedModel) -> list[dict[str, Any]]:
    fields = asking.fields(CvatDetection)
    threshold = threshold_of(model, fields.threshold)
    image = Base64Image(fields.image)
    await asking.enter([image])
    wanted = phrases(asking.context.settings)
    results = await asking.ask_phrases(image, list(wanted.values()), threshold, model)
    return await asyncio.to_thread(_shapes, list(wanted), results)


def _shapes(labels: Sequence[str], results: Sequence[ConceptResult]) -> list[dict[str, Any]]:
    return [
        detected(label, instance)
        for label, result in zip(labels, results, strict=True)
        for instance in result.instances
        if instance.area
    ]
