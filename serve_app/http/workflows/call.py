"""Turns an HTTP request about workflows into a call of the runner: reads tenant, definition and image files."""

import asyncio
from typing import Any

from fastapi import Request, Response
from pydantic import ValidationError

from deployments.protocol import ImageFile
from deployments.workflows.inputs import Path, images_in, put
from deployments.workflows.protocol import HOW_TO_SWITCH_ON, Place, WorkflowAnswer, WorkflowRun, Workflows
from serve_app.http.caller import authenticated
from serve_app.http.context import HttpContext, context_of
from serve_app.http.errors import BadImage, InvalidRequest, NoWorkflows
from serve_app.http.reading.image_fields import InferenceRequestImage
from serve_app.http.reading.images import Base64Image, UrlImage, check_count, source_of
from serve_app.http.sam3.call import all_or_none
from serve_app.http.video.call import limits_of

SAYS_THE_IMAGE = ("type", "value")
URL_STARTS = ("https://", "http://")


def workflows_of(request: Request) -> Workflows:
    """The runner of workflows. Raises NoWorkflows when Workflows are switched off."""
    workflows = context_of(request).workflows
    if workflows is None:
        raise NoWorkflows(HOW_TO_SWITCH_ON)
    return workflows


async def read_document(request: Request) -> tuple[str, dict[str, Any]]:
    """The tenant, and the request's JSON without the key. Raises the table's errors about keys and bodies."""
    tenant, body = await authenticated(request)
    if body.files is not None:
        raise InvalidRequest.one("send application/json: workflows have images of several names")
    return tenant, body.document


def specification_of(document: dict[str, Any]) -> dict[str, Any]:
    """The definition in a request. Raises InvalidRequest."""
    return _object(document, "specification")


async def saved_definition(
    request: Request, tenant: str, document: dict[str, Any], workspace: str, workflow_id: str
) -> dict[str, Any]:
    """A saved definition of the tenant. Raises InvalidRequest, UnknownWorkflow."""
    use_cache = document.get("use_cache", True)
    version = document.get("workflow_version_id")
    if not isinstance(use_cache, bool):
        raise InvalidRequest.one("Input should be a valid boolean", "use_cache", kind="bool_type")
    if not isinstance(version, str | None):
        raise InvalidRequest.one("Input should be a valid string", "workflow_version_id", kind="string_type")
    find = context_of(request).definitions.find
    return await asyncio.to_thread(find, tenant, workspace, workflow_id, version, use_cache=use_cache)


async def read_run(request: Request, tenant: str, document: dict[str, Any]) -> WorkflowRun:
    """A run with its image files. Images given by URL are fetched. Raises InvalidRequest, BadImage."""
    context = context_of(request)
    inputs = _object(document, "inputs")
    found = list(images_in(specification_of(document), inputs))
    check_count(len(found), context.settings.max_images)
    sources = [_source(context, tenant, path, image) for path, image in found]
    files = await all_or_none([_content(path, one) for (path, _), one in zip(found, sources, strict=True)])
    places = []
    for index, (path, image) in enumerate(found):
        put(inputs, path, None)  # only the files keep the images' megabytes
        extras = (
            {key: value for key, value in image.items() if key not in SAYS_THE_IMAGE}
            if isinstance(image, dict)
            else {}
        )
        places.append(Place(path, index, extras))
    share = context.keys.share(tenant)
    quota = context.keys.quota(tenant)
    videos = limits_of(context.settings, context.keys)
    return WorkflowRun(tenant, document, places, files, share.weight, share.batch, quota, videos)


def answer_of(answer: WorkflowAnswer) -> Response:
    """The runner's answer, unchanged."""
    return Response(answer.body, answer.status, media_type="application/json")


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    if value is None:
        raise InvalidRequest.one("Field required", name, kind="missing")
    if not isinstance(value, dict):
        raise InvalidRequest.one("Input should be a valid dictionary", name, kind="dict_type")
    return value


def _source(context: HttpContext, tenant: str, path: Path, image: Any) -> ImageFile:
    """The source of an image: an object as on the other routes, or bare text, which workflows allow."""
    if isinstance(image, str):
        return (
            UrlImage(context.fetcher, tenant, image) if image.startswith(URL_STARTS) else Base64Image(image)
        )
    try:
        described = InferenceRequestImage.model_validate(image)
    except ValidationError as error:
        raise InvalidRequest.of(error, "inputs", *path) from None
    return source_of(described, context.fetcher, tenant)


async def _content(path: Path, source: ImageFile) -> bytes:
    try:
        return await source.content()
    except BadImage as error:
        raise BadImage(f"input {'.'.join(map(str, path))!r}: {error}") from None
