"""`/docs`: the interactive documentation. Its scripts are served from here, not from the Internet, and nothing else may
run or load on the page."""

import base64
import hashlib
import re
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from serve_app.http.system.playground_files import SECURITY

ASSETS = "/docs/assets"
_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def assets_directory() -> Path:
    """The folder of Swagger UI's files in the package fastapi-offline, found without importing it."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package fastapi-offline is not installed: it holds the files of /docs")
    return Path(spec.origin).parent / "static"


def security(page: bytes) -> dict[str, str]:
    """The page's headers. Its policy names the script inside it by its digest."""
    digests = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE.findall(page)]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    policy = (
        f"default-src 'none'; script-src 'self' {allowed}; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
        # Swagger UI shows its icons from data, and the images of answers from blobs.
        "img-src 'self' data: blob:; font-src 'self' data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return {**SECURITY, "Content-Security-Policy": policy}


def install(app: FastAPI) -> None:
    """Add the page and its files to the app."""

    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        page = get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{root}{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root}{ASSETS}/favicon.png",
            swagger_ui_parameters={"defaultModelsExpandDepth": 0, "tryItOutEnabled": True},
        )
        page.headers.update(security(bytes(page.body)))
        return page

    app.add_api_route("/docs", docs, include_in_schema=False)
    app.mount(ASSETS, StaticFiles(directory=assets_directory()), name="docs-assets")
