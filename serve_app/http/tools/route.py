"""A tool's router. It reads the API key where a tool can send one, a Basic password or the header `Token`, after the
places of all routes."""

from fastapi import APIRouter, Depends, Request

from serve_app.http.around.exchange import exchange_of
from serve_app.http.tenants.auth import password_key


def tool_router(name: str, prefix: str = "") -> APIRouter:
    """A router for a tool of this name in the documentation."""
    return APIRouter(prefix=prefix, tags=[name], dependencies=[Depends(_take_key)])


async def _take_key(request: Request) -> None:
    headers = request.headers
    exchange_of(request).tool_key = password_key(headers.get("authorization")) or headers.get("token")
