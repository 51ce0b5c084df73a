"""From a request to what the segmenter is asked: who asks, the valid fields, the images."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from deployments.protocol import ImageReference, ImageSource, Segmenter, Trace
from deployments.traces import merge
from deployments.workflows.definitions import Definitions
from deployments.workflows.protocol import Workflows
from sam3_engine.types import ConceptPrompt, ImageSize, VisualPrompt
from serve_app.http.around.exchange import Exchange, exchange_of
from serve_app.http.errors import InList, InvalidRequest, Unauthorized, row_of
from serve_app.http.reading.body import Body, read_body
from serve_app.http.reading.fetch import ImageFetcher
from serve_app.http.reading.images import FileImage, check_count, sources_of
from serve_app.http.schemas import RequestModel
from serve_app.http.tenants.auth import KeyRing, bearer_key
from serve_app.settings import Settings


class OfImage(Protocol):
    """What every answer of the segmenter says of its image."""

    @property
    def image_id(self) -> str:
        """The image's id."""
        ...

    @property
    def size(self) -> ImageSize:
        """Of the upright original."""
        ...


Fields = TypeVar("Fields", bound=RequestModel)
Answer = TypeVar("Answer", bound=OfImage)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HttpContext:
    """What the routes of one app share. Lives in `app.state.context`."""

    settings: Settings
    segmenter: Callable[[], Segmenter]
    keys: KeyRing
    fetcher: ImageFetcher
    definitions: Definitions
    workflows: Workflows | None = None


@dataclass(frozen=True, slots=True)
class Forms(Generic[Fields]):
    """The forms in which a route's request comes. `fields`: all but the image, for multipart."""

    fields: type[Fields]
    with_image: type[Fields]
    with_id: type[Fields] | None = None


@dataclass(frozen=True, slots=True)
class Call(Generic[Fields]):
    """A valid request of a known tenant."""

    context: HttpContext
    exchange: Exchange
    fields: Fields
    images: Sequence[ImageReference]
    listed: bool
    """Whether the images came as a list, to be answered by a list."""

    def asks(self, prompts: Sequence[ConceptPrompt | VisualPrompt]) -> None:
        """Note what is asked of every image."""
        self.exchange.prompts = len(prompts)
        self.exchange.texts = [
            prompt.text for prompt in prompts if isinstance(prompt, ConceptPrompt) and prompt.text
        ]

    async def for_each(self, ask: Callable[[ImageReference, Trace], Awaitable[Answer]]) -> list[Answer]:
        """Ask for every image at the same time; the answers in order. One failure fails, and ends, all.

        Raises InList around an error of the table when the images came as a list.
        """
        answers = await self._for_each(ask)
        self.exchange.sizes = [answer.size for answer in answers]
        self.exchange.image_ids = [answer.image_id for answer in answers]
        return answers

    async def _for_each(self, ask: Callable[[ImageReference, Trace], Awaitable[Answer]]) -> list[Answer]:
        trace = self.exchange.trace
        if not self.listed:
            return [await ask(self.images[0], trace)]
        traces = [Trace(trace.request_id, trace.deadline) for _ in self.images]

        async def one(index: int) -> Answer:
            try:
                return await ask(self.images[index], traces[index])
            except Exception as error:
                if row_of(error) is None:
                    raise
                raise InList(index, error) from error

        try:
            return await all_or_none([one(index) for index in range(len(self.images))])
        finally:
            merge(trace, traces)


async def all_or_none(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order; the first error ends the other calls and is raised."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_call(request: Request, forms: Forms[Fields]) -> Call[Fields]:
    """Raises the errors of the table that concern keys, the body and the images' descriptions."""
    context: HttpContext = request.app.state.context
    exchange = exchange_of(request)
    limit = context.settings.max_images
    tenant, body = await authenticated(request, context.keys, exchange.query_key, limit)
    exchange.tenant = tenant
    fields = _validated(forms, body)
    image_id: str | None = getattr(fields, "image_id", None)
    given = getattr(fields, "image", None)
    sources: list[ImageSource]
    if body.files:
        check_count(len(body.files), limit)
        sources = [FileImage(content) for content in body.files]
        listed = len(sources) > 1
    elif given is not None:
        sources = sources_of(given, context.fetcher, tenant, limit)
        listed = isinstance(given, list)
    else:
        return Call(context, exchange, fields, [ImageReference(tenant, None, image_id)], listed=False)
    if image_id is not None and len(sources) > 1:
        raise InvalidRequest.one("image_id can name one image, not a list of them", "image_id")
    quota = context.keys.quota(tenant)
    images = [ImageReference(tenant, source, image_id, quota) for source in sources]
    if given is not None:
        fields = fields.model_copy(update={"image": None})  # the sources alone hold what may be megabytes
    return Call(context, exchange, fields, images, listed)


def tenant_of(request: Request) -> str:
    """Who sends a request without a body. Raises Unauthorized, RateLimited."""
    context: HttpContext = request.app.state.context
    exchange = exchange_of(request)
    tenant = context.keys.tenant(exchange.query_key or bearer_key(request.headers.get("authorization")))
    exchange.tenant = tenant
    return tenant


async def authenticated(
    request: Request, keys: KeyRing, query_key: str | None, limit: int
) -> tuple[str, Body]:
    """The tenant and the body. A key outside the body is checked before the body is read."""
    key = query_key or bearer_key(request.headers.get("authorization"))
    if keys.open or key is not None:
        tenant = keys.tenant(key)
        body = await read_body(request, limit)
        _take_key(body)
        return tenant, body
    try:
        body = await read_body(request, limit)
        key = _take_key(body)
    except InvalidRequest:
        raise Unauthorized from None
    return keys.tenant(key), body


def _take_key(body: Body) -> str | None:
    key = body.document.pop("api_key", None)
    if key is not None and not isinstance(key, str):
        raise InvalidRequest.one("Input should be a valid string", "api_key", kind="string_type")
    return key


def _validated(forms: Forms[Fields], body: Body) -> Fields:
    if body.files:
        form = forms.fields
    elif forms.with_id is not None and body.document.get("image") is None and body.document.get("image_id"):
        form = forms.with_id
    else:
        form = forms.with_image
    try:
        return form.model_validate(body.document)
    except ValidationError as error:
        raise InvalidRequest.of(error) from None
