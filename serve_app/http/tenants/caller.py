"""Finds the tenant of a request, by the key in its query, headers or body."""

from collections.abc import Callable

from starlette.requests import Request

from deployments.fairness.flows import Share
from serve_app.http.around.exchange import exchange_of
from serve_app.http.errors import InvalidRequest, Unauthorized
from serve_app.http.reading.body import Body, read_body
from serve_app.http.tenants.auth import KeyRing, bearer_key


def tenant_of(request: Request, keys: KeyRing) -> str:
    """The tenant of a request without a body. Raises Unauthorized, RateLimited."""
    key = exchange_of(request).query_key or bearer_key(request.headers.get("authorization"))
    return _tenant(request, keys, key)


async def authenticated(
    request: Request,
    keys: KeyRing,
    query_key: str | None,
    limit: int,
    check: Callable[[Share], None] = lambda _: None,
) -> tuple[str, Body]:
    """The tenant and the body. A key outside the body is checked before the body is read, and then `check` is called,
    which may refuse the tenant's request."""
    key = query_key or bearer_key(request.headers.get("authorization"))
    if keys.open or key is not None:
        tenant = _tenant(request, keys, key)
        check(keys.share(tenant))
        body = await read_body(request, limit)
        _take_key(body)
        return tenant, body
    try:
        body = await read_body(request, limit)
        key = _take_key(body)
    except InvalidRequest:
        raise Unauthorized from None
    return _tenant(request, keys, key), body


def _tenant(request: Request, keys: KeyRing, key: str | None) -> str:
    """The tenant, whose request this counts. Every answer from now on says what its rate allows. Raises Unauthorized,
    RateLimited."""
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
