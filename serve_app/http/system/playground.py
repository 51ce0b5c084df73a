"""`/`: the playground and its files. These need no API key; the page asks the user for it."""

from functools import lru_cache

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from serve_app.http.around.etags import ASK_AGAIN, is_known
from serve_app.http.context import context_of
from serve_app.http.models import note_on
from serve_app.http.system.playground_files import (
    PREFIX,
    SECURITY,
    Playground,
    StaticFile,
)
from serve_app.http.system.server import info

router = APIRouter(tags=["Server"])
playground = lru_cache(maxsize=1)(Playground)


@router.get("/", response_class=HTMLResponse, summary="Playground")
async def start_page(request: Request) -> Response:
    """A page to try the server. A client that accepts JSON and not HTML gets the answer of `/info`."""
    if wants_json(request.headers.get("accept", "")):
        return JSONResponse(await info(request), headers={"Vary": "Accept"})
    context = context_of(request)
    page = playground().page(
        request.scope.get("root_path", "").rstrip("/"),
        context.models.default.architecture,
        note_on(context.models.default.architecture) or "",
        request.app.version,
        not context.keys.open,
        len(context.models.models) > 1,
        context.video is not None,
    )
    return answer(request, page, {"Cache-Control": ASK_AGAIN, "Vary": "Accept", **SECURITY})


@router.get(f"{PREFIX}/{{path:path}}", include_in_schema=False)
async def static_files(request: Request, path: str) -> Response:
    """The page's scripts, styles and samples."""
    found = playground().find(path)
    if found is None:
        raise HTTPException(404, "there is no such file")
    file, cache_control = found
    return answer(request, file, {"Cache-Control": cache_control, "X-Content-Type-Options": "nosniff"})


def answer(request: Request, file: StaticFile, headers: dict[str, str]) -> Response:
    """The file, or 304 when the client already has it."""
    headers = {**headers, "ETag": file.etag}
    if is_known(file.etag, request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)


def wants_json(accept: str) -> bool:
    """True for an Accept header that names JSON and not HTML: API clients' headers do, browsers' do not."""
    return "application/json" in accept and "text/html" not in accept
