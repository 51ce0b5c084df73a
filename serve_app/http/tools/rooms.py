"""The tools that the server can answer, by their names in `SAM3_TOOLS`. For a new tool, add a room and an entry."""

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel

from serve_app.http.around.error_forms import ErrorForm
from serve_app.http.tools.cvat import routes as cvat
from serve_app.http.tools.cvat.schemas import CvatDetection, CvatInteraction, CvatTracking
from serve_app.http.tools.label_studio import routes as label_studio
from serve_app.http.tools.label_studio.schemas import LabelStudioPredict, LabelStudioSetup
from serve_app.http.tools.x_anylabeling import routes as x_anylabeling
from serve_app.http.tools.x_anylabeling import video_routes as x_anylabeling_video
from serve_app.http.tools.x_anylabeling.schemas import XAnyLabelingPredict
from serve_app.http.tools.x_anylabeling.video_schemas import (
    XAnyLabelingVideoInit,
    XAnyLabelingVideoPrompt,
    XAnyLabelingVideoPropagate,
)
from serve_app.settings import Settings, Tool

ROUTERS: dict[Tool, tuple[APIRouter, ...]] = {
    "label-studio": (label_studio.router,),
    "cvat": (cvat.router,),
    "x-anylabeling": (x_anylabeling.router, x_anylabeling_video.router),
}
BODIES: dict[Tool, tuple[type[BaseModel], ...]] = {
    "label-studio": (LabelStudioSetup, LabelStudioPredict),
    "cvat": (CvatInteraction, CvatDetection, CvatTracking),
    "x-anylabeling": (
        XAnyLabelingPredict,
        XAnyLabelingVideoInit,
        XAnyLabelingVideoPrompt,
        XAnyLabelingVideoPropagate,
    ),
}
"""The schemas of request bodies, which the routes read themselves."""
FORMS: dict[Tool, tuple[str, ErrorForm]] = {
    "label-studio": ("label-studio", label_studio.error_form),
    "cvat": ("api", cvat.error_form),
    "x-anylabeling": ("v1", x_anylabeling.error_form),
}
"""The first part of each tool's paths, and the form of errors below it."""


def routers(settings: Settings) -> list[APIRouter]:
    """The routers of the tools that are switched on."""
    return [router for tool in ROUTERS if tool in settings.tools for router in ROUTERS[tool]]


def bodies(settings: Settings) -> list[type[BaseModel]]:
    """The schemas of the bodies of these tools' routes."""
    return [body for tool in BODIES if tool in settings.tools for body in BODIES[tool]]


def error_forms(settings: Settings) -> dict[str, ErrorForm]:
    """The forms of errors by the first part of the paths of these tools."""
    return dict(FORMS[tool] for tool in FORMS if tool in settings.tools)


def tool_paths(settings: Settings) -> set[str]:
    """The paths of these tools' routes. All need a key, where there are keys."""
    routes = [route for router in routers(settings) for route in router.routes if isinstance(route, APIRoute)]
    return {route.path for route in routes}
