"""The routes about the server itself. None of them needs an API key."""

import asyncio
import logging
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from serve_app.http.around.exchange import exchange_of
from serve_app.http.context import context_of
from serve_app.http.models import note_on
from serve_app.http.schemas import ResponseModel

logger = logging.getLogger(__name__)
router = APIRouter(tags=["Server"])

READY_WITHIN_S = 5.0


class ServerInfo(ResponseModel):
    """The server's name, version and model."""

    name: str
    version: str
    uuid: str
    """An id that changes when the server starts again."""
    model: str
    """The model's name."""
    note: str | None = None
    """A note on the model's limits."""


class Status(ResponseModel):
    """The server's state, in words."""

    status: str
    store: Literal["away"] | None = None
    """Away: ids that clients chose and new images are answered 503. Images known by
    their content go on being answered."""


@router.get("/info", summary="Name, version, model", response_model=ServerInfo)
async def info(request: Request) -> dict[str, Any]:
    """The server's name, version and default model, as `InferenceHTTPClient.get_server_info` reads them."""
    architecture = context_of(request).models.default.architecture
    return {
        "name": "sam3-serve",
        "version": request.app.version,
        "uuid": request.app.state.server_id,
        "model": architecture,
        "note": note_on(architecture),
    }


@router.get(
    "/readiness",
    summary="Readiness: requests sent now would be answered",
    response_model=Status,
    response_model_exclude_none=True,
    responses={503: {"model": Status, "description": "Not now: models load, or replicas are missing."}},
)
async def readiness(request: Request) -> JSONResponse:
    """200 once the default model and all pinned ones are loaded and all replicas that they need run, else 503. A store
    that is away does not make the server unready: a server that counts as unready would not be asked about images known
    by their content either."""
    ready = await _ask(request)
    store = {} if not ready or await context_of(request).segmenter().store_answers() else {"store": "away"}
    return JSONResponse({"status": "ready" if ready else "not ready", **store}, 200 if ready else 503)


@router.get(
    "/healthz",
    summary="Health: the server can reach its own processes",
    response_model=Status,
    responses={503: {"model": Status, "description": "The server cannot reach its own processes."}},
)
async def healthz(request: Request) -> JSONResponse:
    """200 while the server can determine whether it is ready, else 503."""
    healthy = await _ask(request) is not None
    return JSONResponse({"status": "healthy" if healthy else "unhealthy"}, 200 if healthy else 503)


async def _ask(request: Request) -> bool | None:
    """The segmenter's own word that it is ready, or is not; None when it cannot be asked."""
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            return await context_of(request).segmenter().ready()
    except Exception:
        logger.exception("request %s: the segmenter cannot be asked", exchange_of(request).timings.request_id)
        return None
