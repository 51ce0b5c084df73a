"""The routes of an ML backend, below `/label-studio`: the URL to type into Label Studio's settings."""

import asyncio
import logging
from typing import Any

from cachetools import LRUCache
from fastapi import Request, Response
from fastapi.responses import JSONResponse

from serve_app.http.around.exchange import exchange_of
from serve_app.http.caller import prober_of, tenant_of
from serve_app.http.context import context_of
from serve_app.http.errors import InvalidRequest
from serve_app.http.sam3.examples import IMAGE
from serve_app.http.sam3.masks import dump
from serve_app.http.tools.asking import read_asking
from serve_app.http.tools.documented import documented
from serve_app.http.tools.label_studio.brush import without_masks
from serve_app.http.tools.label_studio.config import LabelConfig, parse_config
from serve_app.http.tools.label_studio.predict import predict, prediction
from serve_app.http.tools.label_studio.schemas import (
    LabelStudioError,
    LabelStudioHealth,
    LabelStudioModelVersion,
    LabelStudioPredict,
    LabelStudioPredictions,
    LabelStudioReceived,
    LabelStudioSetup,
    LabelStudioVersions,
)
from serve_app.http.tools.label_studio.tasks import MOST_PROJECTS, Server, server_of
from serve_app.http.tools.route import tool_router
from serve_app.models import Registry, ServedModel

logger = logging.getLogger(__name__)

HEALTH_S = 0.7
"""Label Studio waits a second."""
NAME = "sam3-serve"
CONFIG = """<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="mask" toName="image"><Label value="Circle" sam3_phrase="red circle"/></BrushLabels>
  <KeyPointLabels name="click" toName="image" smart="true"><Label value="Circle"/></KeyPointLabels>
</View>"""
_TASK = {"id": 1, "data": {"image": f"data:image/png;base64,{IMAGE['value']}"}}
_CLICK = {
    "type": "keypointlabels",
    "from_name": "click",
    "to_name": "image",
    "original_width": 96,
    "original_height": 96,
    "is_positive": True,
    "value": {"x": 45.8, "y": 50.0, "width": 0.3, "keypointlabels": ["Circle"]},
}
EXAMPLES: dict[str, Any] = {
    "suggest": {
        "summary": "Suggestions for tasks",
        "value": {"tasks": [_TASK], "project": "1.1700000000", "label_config": CONFIG},
    },
    "click": {
        "summary": "A click with a smart tool",
        "value": {
            "tasks": [_TASK],
            "project": "1.1700000000",
            "label_config": CONFIG,
            "params": {"context": {"result": [_CLICK]}},
        },
    },
}
SETUP_EXAMPLES: dict[str, Any] = {
    "project": {
        "summary": "A project introduces itself",
        "value": {
            "project": "1.1700000000",
            "schema": CONFIG,
            "hostname": "https://label-studio.example.com",
            "access_token": "token",
        },
    }
}


def error_form(_status: int, message: str, _name: str) -> dict[str, Any]:
    """An error's body."""
    return {"error": message, "detail": message}


router = tool_router("Label Studio", "/label-studio")


def _servers(request: Request) -> LRUCache[tuple[str, str], Server | None]:
    """The servers of the projects that have introduced themselves to this app, by tenant and project."""
    state = request.app.state
    if not hasattr(state, "label_studio_servers"):
        state.label_studio_servers = LRUCache(MOST_PROJECTS)
    found: LRUCache[tuple[str, str], Server | None] = state.label_studio_servers
    return found


def _version(models: Registry, model: ServedModel) -> str:
    """A model as Label Studio lists it: by its name where there are several."""
    return f"{NAME}/{model.name if len(models.models) > 1 else model.architecture}"


def _version_for(models: Registry, config: LabelConfig) -> str:
    """The version of a project's predictions: the models that its tools name. Raises UnknownModel."""
    chosen = {model.name: model for model in (models.find(one.model) for one in config.controls)}
    return "+".join(_version(models, model) for model in chosen.values() or [models.default])


@router.get(
    "/health", **documented("Label Studio: whether the model answers", LabelStudioHealth, LabelStudioError)
)
async def health(request: Request) -> JSONResponse:
    """200 where a request sent now would be answered, else 503. A wrong key is 401: Label Studio tells so in words."""
    prober_of(request, context_of(request).keys)
    try:
        async with asyncio.timeout(HEALTH_S):
            ready = await context_of(request).segmenter().ready()
    except Exception:
        logger.exception("request %s: the segmenter cannot be asked", exchange_of(request).timings.request_id)
        ready = False
    if not ready:
        return JSONResponse({"message": "the model is not ready: try again"}, 503)
    return JSONResponse({"status": "UP", "model_class": NAME})


@router.get(
    "/versions", **documented("Label Studio: versions of the model", LabelStudioVersions, LabelStudioError)
)
async def versions(request: Request) -> Response:
    """The versions: one for each model."""
    context = context_of(request)
    tenant_of(request, context.keys)
    return JSONResponse({"versions": [_version(context.models, model) for model in context.models.models]})


@router.post(
    "/setup",
    **documented(
        "Label Studio: a project introduces itself",
        LabelStudioModelVersion,
        LabelStudioError,
        LabelStudioSetup,
        SETUP_EXAMPLES,
    ),
)
async def setup(request: Request) -> Response:
    """Remember where the project's images are, and the token for them."""
    asking = await read_asking(request)
    fields = asking.fields(LabelStudioSetup)
    _servers(request)[asking.tenant, fields.project] = server_of(fields)
    models = asking.context.models
    try:
        version = _version_for(models, parse_config(fields.label_schema))
    except InvalidRequest:  # a new project may be connected before it is configured
        version = _version(models, models.default)
    return JSONResponse({"model_version": version})


@router.post(
    "/predict",
    **documented(
        "Label Studio: regions for tasks",
        LabelStudioPredictions,
        LabelStudioError,
        LabelStudioPredict,
        EXAMPLES,
    ),
)
async def predictions(request: Request) -> Response:
    """Regions of each task. Without a context: every instance of every label. With one: of what was drawn.

    Labels are phrases for the model; `sam3_phrase="..."` in a Label gives another, and `sam3_model="..."` in its tool
    another model. A task whose image cannot be read has no prediction: an empty list.
    """
    asking = await read_asking(request, without_masks)
    fields = asking.fields(LabelStudioPredict)
    config = parse_config(fields.label_config)
    version = _version_for(asking.context.models, config)
    server = _servers(request).get((asking.tenant, fields.project or ""))
    found = await predict(asking, config, fields, server)
    results = [[] if regions is None else prediction(regions, version) for regions in found]
    return Response(dump({"results": results, "model_version": version}), media_type="application/json")


@router.post(
    "/webhook",
    status_code=201,
    **documented(
        "Label Studio: a message about a project", LabelStudioReceived, LabelStudioError, success=201
    ),
)
async def webhook(request: Request) -> Response:
    """Messages, such as that training is wanted, are received and have no effect."""
    await read_asking(request)
    return JSONResponse({"status": "received"}, 201)
