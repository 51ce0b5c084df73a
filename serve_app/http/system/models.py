"""The models that the server serves: `GET /models`."""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response

from deployments.protocol import ModelStatus
from serve_app.http.caller import tenant_of
from serve_app.http.context import context_of
from serve_app.http.sam3.masks import answer_json
from serve_app.http.sam3.route import ANSWER_HEADERS, ERRORS, PARAMETERS
from serve_app.http.schemas import ResponseModel
from serve_app.models import Registry, ServedModel

router = APIRouter(tags=["Server"])


class ModelInfo(ResponseModel):
    """One model."""

    name: str
    """The `model_id` of requests to it."""
    aliases: list[str]
    """Other values of `model_id` that choose it."""
    default: bool
    """True for the model of requests that name none."""
    architecture: str
    """`sam3`, or `tiny`, the bundled demonstration model."""
    state: Literal["ready", "asleep", "loading"]
    """asleep: it starts at the first request, which waits meanwhile. loading: it starts now."""
    replicas: int
    """Decoders that run, as far as the process that answers has heard."""
    pinned: bool
    """True: it never sleeps."""
    output_prob_thresh: float | None
    """Score threshold of requests that name none; null: 0.5."""


class ModelList(ResponseModel):
    """The models, in the order of the server's file."""

    models: list[ModelInfo]
    """At least one."""


DOCUMENTED: dict[str, Any] = {
    "summary": "The models and their state",
    "response_model": None,
    "responses": {
        200: {"model": ModelList, "headers": ANSWER_HEADERS},
        **{status: ERRORS[status] for status in (401, 429, 500, 503, 504)},
    },
    "openapi_extra": {"parameters": PARAMETERS},
}


@router.get("/models", **DOCUMENTED)
async def models(request: Request) -> Response:
    """List the models. Asking does not wake one that sleeps."""
    context = context_of(request)
    tenant_of(request, context.keys)
    states = context.segmenter().models()
    served = [_described(model, context.models, states[model.name]) for model in context.models.models]
    return answer_json([{"models": served}], listed=False)


def _described(model: ServedModel, models: Registry, status: ModelStatus) -> dict[str, Any]:
    return {
        "name": model.name,
        "aliases": list(model.ids[1:]),
        "default": model is models.default,
        "architecture": model.architecture,
        "state": status.state,
        "replicas": status.replicas,
        "pinned": model.pinned,
        "output_prob_thresh": model.threshold,
    }
