"""The caller's tenant's use of the server, beside its limits: `GET /sam3/usage`."""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from serve_app.http.around.exchange import exchange_of
from serve_app.http.caller import tenant_of
from serve_app.http.context import context_of
from serve_app.http.sam3.masks import answer_json
from serve_app.http.sam3.route import ANSWER_HEADERS, ERRORS, PARAMETERS
from serve_app.http.schemas import ResponseModel
from serve_app.http.tenants.auth import UNLIMITED

router = APIRouter(tags=["Images"])


class RequestUsage(ResponseModel):
    """The tenant's requests in the process that answers; each ingress replica has its own."""

    under_way: int
    """Requests that are being worked on."""
    waiting: int
    """Requests that wait for the tenant's turn."""
    per_second: float | None
    """Requests per second that the key file allows; null: any number."""
    remaining: int | None
    """Requests that the rate allows now; null: any number."""


class TierUse(ResponseModel):
    """The tenant's images in one tier of the cache."""

    count: int
    """Number of images in the tier."""
    bytes: int
    """Bytes of all these images in the tier."""
    allowed_bytes: int | None
    """Most bytes that the key file allows; null: as many as the server has room for."""


class Usage(ResponseModel):
    """One tenant's use of the server, beside its limits."""

    tenant: str
    """The tenant's name."""
    tenant_class: Literal["interactive", "batch"] = Field(alias="class")
    """`batch` comes after interactive tenants."""
    weight: float
    """The tenant's share of the server beside other busy tenants of its class."""
    requests: RequestUsage
    files: TierUse
    """Image files, as they came."""
    embeddings: TierUse
    """Embeddings in the object store."""
    time: float
    """Seconds that the answer took."""


DOCUMENTED: dict[str, Any] = {
    "summary": "The caller's use of the server, and its limits",
    "response_model": None,
    "responses": {
        200: {"model": Usage, "headers": ANSWER_HEADERS},
        **{status: ERRORS[status] for status in (401, 429, 500, 503, 504)},
    },
    "openapi_extra": {"parameters": PARAMETERS},
}


@router.get("/sam3/usage", **DOCUMENTED)
async def usage(request: Request) -> Response:
    """The requests, image files and embeddings of the caller's tenant now, beside the limits of its key file."""
    context = context_of(request)
    tenant = tenant_of(request, context.keys)
    images = await context.segmenter().images(tenant)
    # An image appears once for each of its ids, each time with the same birth and sizes.
    kept = {image.digest: image for image in images}.values()
    share, bucket, quota = context.keys.share(tenant), context.keys.bucket(tenant), context.keys.quota(tenant)
    allowed = None if quota is None or quota >= UNLIMITED else quota
    under_way, waiting = context.admission.requests_of(share)
    body = {
        "tenant": tenant,
        "class": "batch" if share.batch else "interactive",
        "weight": share.weight,
        "requests": {
            "under_way": under_way,
            "waiting": waiting,
            "per_second": bucket.rate if bucket else None,
            "remaining": bucket.left if bucket else None,
        },
        "files": _tier([image.source_bytes for image in kept], allowed),
        "embeddings": _tier([image.embedding_bytes for image in kept], allowed),
        "time": exchange_of(request).seconds,
    }
    return answer_json([body], listed=False)


def _tier(sizes: list[int], allowed: int | None) -> dict[str, int | None]:
    return {"count": sum(size > 0 for size in sizes), "bytes": sum(sizes), "allowed_bytes": allowed}
