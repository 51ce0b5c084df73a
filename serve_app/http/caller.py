"""Finds the tenant of a request, by the key in its query, headers or body, and reads the body.

The order protects the server. A key outside the body is checked before anything of the body is read, and a key at the
body's start as soon as it comes. The body is read within the budget of bodies on their way. Only then, with the tenant
known and the request complete, a route takes one of the places for requests that the server works on.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import suppress

from starlette.requests import Request

from serve_app.http.around.exchange import exchange_of
from serve_app.http.context import HttpContext, context_of
from serve_app.http.errors import InvalidRequest, Unauthorized
from serve_app.http.reading.arrival import Arriving
from serve_app.http.reading.body import Body, Shorten, read_body
from serve_app.http.reading.structure import MOST_VALUES, MOST_VALUES_OF_STRANGERS
from serve_app.http.tenants.auth import KeyRing, bearer_key

_KEY_FIRST = re.compile(rb'\s*\{\s*"api_key"\s*:\s*"([!#-\[\]-~]{1,256})"')
"""A body that begins with its key, as inference-sdk sends the bodies of workflows."""


def prober_of(request: Request, keys: KeyRing) -> str:
    """The tenant of a probe, which does not count as a request of its tenant. Raises Unauthorized."""
    exchange_of(request).tenant = tenant = keys.owner(_key_outside_body(request))
    return tenant


def tenant_of(request: Request, keys: KeyRing) -> str:
    """The tenant of a request without a body. Raises Unauthorized, RateLimited."""
    return _tenant(request, keys, _key_outside_body(request))


async def authenticated(
    request: Request, shorten: Shorten | None = None, part: str = "image"
) -> tuple[str, Body]:
    """The tenant and the body of a request. shorten, part: see `read_body`. Raises the errors of the table about keys,
    bodies and overload: a tenant whose request would be refused now is refused before the body is read, where its key
    is outside the body."""
    context = context_of(request)
    key = _key_outside_body(request)
    known = context.keys.open or key is not None
    tenant = _tenant(request, context.keys, key) if known else None
    if tenant is not None:
        context.admission.check(context.keys.share(tenant))
    body = await _read(request, context, tenant, shorten, part)
    try:
        key = _take_key(body)
    except InvalidRequest:
        if known:
            raise
        raise Unauthorized from None
    if tenant is None:
        tenant = _tenant(request, context.keys, key)
    return tenant, body


def _key_outside_body(request: Request) -> str | None:
    exchange = exchange_of(request)
    return exchange.query_key or bearer_key(request.headers.get("authorization")) or exchange.tool_key or None


async def _read(
    request: Request, context: HttpContext, tenant: str | None, shorten: Shorten | None, part: str
) -> Body:
    """The body. Raises Unauthorized in place of InvalidRequest, for a client that has shown no valid key."""
    kind = request.headers.get("content-type", "")
    with context.arrivals.begin(tenant) as arriving:
        chunks = arriving.chunks(request.stream())
        if tenant is None:
            chunks = _noticing_key(chunks, arriving, context.keys)
        try:
            values = MOST_VALUES_OF_STRANGERS if tenant is None else MOST_VALUES
            return await read_body(kind, chunks, context.settings.max_images, values, shorten, part)
        except InvalidRequest:
            if tenant is None:
                raise Unauthorized from None
            raise


async def _noticing_key(
    chunks: AsyncGenerator[bytes], arriving: Arriving, keys: KeyRing
) -> AsyncGenerator[bytes]:
    """The chunks. When the first one begins with a valid key, the body counts as that tenant's from then on. The key
    that the whole body holds decides in the end."""
    first = True
    async for chunk in chunks:
        if first and (found := _KEY_FIRST.match(chunk)):
            with suppress(Unauthorized):
                arriving.belongs_to(keys.owner(found[1].decode()))
        first = False
        yield chunk


def _tenant(request: Request, keys: KeyRing, key: str | None) -> str:
    """The tenant, whose request this counts. Every answer from now on tells the requests that its rate allows.

    Raises Unauthorized, RateLimited.
    """
    exchange = exchange_of(request)
    exchange.tenant = tenant = keys.owner(key)
    try:
        keys.take(tenant)
    finally:
        if bucket := keys.bucket(tenant):
            exchange.more_headers |= bucket.headers()
    return tenant


def _take_key(body: Body) -> str | None:
    key = body.document.pop("api_key", None)
    if key is not None and not isinstance(key, str):
        raise InvalidRequest.one("Input should be a valid string", "api_key", kind="string_type")
    return key
