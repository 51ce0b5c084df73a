"""The OpenAPI 3.1 document: FastAPI's, with the request bodies that the routes read themselves."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serve_app.http.models import note_on
from serve_app.http.sam3.routes import ROUTES
from serve_app.http.tools.rooms import bodies, tool_paths
from serve_app.http.video.routes import VIDEO_ROUTES
from serve_app.models import Registry
from serve_app.settings import Settings

DESCRIPTION = """\
Meta's SAM 3 over the routes, names and defaults of Roboflow's SAM 3 API.

Coordinates are absolute pixels of the upright image (its EXIF orientation applied). Lists of images are
answered by lists in the same order. Errors are `{"message": ...}`, and 422 lists what is wrong with the
request under `detail`.
"""
SECURITY_SCHEMES = {
    "ApiKeyQuery": {"type": "apiKey", "in": "query", "name": "api_key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}
TOOL_SECURITY_SCHEMES = {
    **SECURITY_SCHEMES,
    "BasicPassword": {"type": "http", "scheme": "basic"},
    "TokenHeader": {"type": "apiKey", "in": "header", "name": "Token"},
}
"""The places where the routes of annotation tools read a key."""


def install(app: FastAPI, settings: Settings, *, video: bool) -> None:
    """Make the app answer the document at its `openapi_url`. It is built at the first request. video: whether it has
    the routes of videos."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build(app, settings, video=video)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way


def build(app: FastAPI, settings: Settings, *, video: bool) -> dict[str, Any]:
    """The OpenAPI document of an app with these settings."""
    note = note_on(Registry.of(settings).default.architecture)
    document = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=f"{DESCRIPTION}\n{note}" if note else DESCRIPTION,
        routes=app.routes,
    )
    components = document.setdefault("components", {})
    components["schemas"] = dict(
        sorted({**components.get("schemas", {}), **request_components(settings, video=video)}.items())
    )
    if settings.api_keys_file is not None:
        # The third way, the body's api_key, cannot be described as a security scheme of OpenAPI.
        components["securitySchemes"] = TOOL_SECURITY_SCHEMES if settings.tools else SECURITY_SCHEMES
        tools = tool_paths(settings)
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if path in tools:
                    operation["security"] = [{name: []} for name in TOOL_SECURITY_SCHEMES]
                elif (
                    path == "/models"
                    or path.startswith("/sam3/")
                    or ("/workflows" in path and method == "post")
                ):
                    operation["security"] = [{name: []} for name in SECURITY_SCHEMES]
    return document


def request_components(settings: Settings, *, video: bool) -> dict[str, Any]:
    """The schemas of the request bodies, and of all their parts, by name."""
    models: list[type[BaseModel]] = [
        model for route in ROUTES if hasattr(route, "FORMS") for model in route.FORMS.models
    ]
    models += bodies(settings)
    if video:
        models += [model for route in VIDEO_ROUTES for model in route.BODIES]
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    components: dict[str, Any] = _any_of(definitions["$defs"])
    return components


def _any_of(schema: Any) -> Any:
    """Replaces `oneOf` by `anyOf`: a box with the keys of both forms is valid and is read as one of them."""
    if isinstance(schema, dict):
        return {"anyOf" if key == "oneOf" else key: _any_of(value) for key, value in schema.items()}
    return [_any_of(item) for item in schema] if isinstance(schema, list) else schema
