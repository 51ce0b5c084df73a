"""Turns an HTTP request into a call of the segmenter: reads the tenant, the valid fields and the images."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from deployments.keys import DERIVED_PREFIX, derived_id
from deployments.protocol import Answer, ImageFile, ImageReference, PromptRequest, Results, Timings
from sam3_engine.prompt_values import check_inside
from sam3_engine.types import ConceptPrompt, ImageSize, VisualPrompt
from serve_app.http.around.exchange import Exchange, exchange_of
from serve_app.http.caller import authenticated
from serve_app.http.context import HttpContext, context_of
from serve_app.http.errors import InList, InvalidRequest, row_of
from serve_app.http.reading.body import Body
from serve_app.http.reading.images import FileImage, UrlImage, check_count, sources_of
from serve_app.http.schemas import ModelFields
from serve_app.model_file import DEFAULT_MODEL_ID
from serve_app.models import ServedModel

Fields = TypeVar("Fields", bound=ModelFields)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Forms(Generic[Fields]):
    """The schemas of a route's request. `fields`: all fields but the image, for multipart."""

    fields: type[Fields]
    with_image: type[Fields]
    with_id: type[Fields] | None = None

    @property
    def models(self) -> list[type[Fields]]:
        """All schemas of the route."""
        return [form for form in (self.with_image, self.with_id, self.fields) if form is not None]


@dataclass(frozen=True, slots=True)
class Call(Generic[Fields]):
    """A valid request and its tenant."""

    context: HttpContext
    exchange: Exchange
    fields: Fields
    images: Sequence[ImageReference]
    model: ServedModel
    listed: bool
    """True for a request with a list of images, which is answered by a list."""

    async def ask(self, request: PromptRequest[Results] | None) -> list[Answer[Results]]:
        """Ask the segmenter about all images concurrently; returns answers in order. The first error ends all calls.

        `request` None only encodes the images. Raises InvalidRequest for a prompt outside an image. For a list of
        images, an error of the table is raised inside InList.
        """
        prompts: Sequence[ConceptPrompt | VisualPrompt] = getattr(request, "prompts", ())
        self.exchange.prompts = len(prompts)
        self.exchange.texts = [one.text for one in prompts if isinstance(one, ConceptPrompt) and one.text]
        answers = await self._answers(request)
        self.exchange.sizes = [answer.size for answer in answers]
        self.exchange.image_ids = [answer.image_id for answer in answers]
        for size in self.exchange.sizes:  # known only now
            _refuse_outside(prompts, size)
        return answers

    async def _answers(self, request: PromptRequest[Results] | None) -> list[Answer[Results]]:
        segmenter, timings = self.context.segmenter(), self.exchange.timings
        if not self.listed:
            return [await segmenter.answer(self.images[0], request, timings, self.model.name)]
        each = [Timings(timings.request_id, timings.deadline) for _ in self.images]

        async def one(index: int) -> Answer[Results]:
            try:
                return await segmenter.answer(self.images[index], request, each[index], self.model.name)
            except Exception as error:
                if row_of(error) is None:
                    raise
                raise InList(index, error) from error

        try:
            return await all_or_none([one(index) for index in range(len(self.images))])
        finally:
            timings.merge(each)


def _refuse_outside(prompts: Sequence[ConceptPrompt | VisualPrompt], size: ImageSize) -> None:
    """Raises InvalidRequest for a prompt at a place outside the image."""
    for index, prompt in enumerate(prompts):
        try:
            check_inside([prompt], size)
        except ValueError as error:
            raise InvalidRequest.one(str(error), "prompts", index) from None


async def all_or_none(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order. The first error cancels the other calls and is raised."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_call(request: Request, forms: Forms[Fields]) -> Call[Fields]:
    """Read a request, and wait for its tenant's turn. Raises the errors of the table about keys, the body, the
    model and the images' descriptions, and Overloaded."""
    context = context_of(request)
    exchange = exchange_of(request)
    limit = context.settings.max_images
    tenant, body = await authenticated(request)
    share = context.keys.share(tenant)
    fields = _validated(forms, body)
    model = context.models.find(fields.model_id)
    exchange.model = model.name
    exchange.model_id = model.name if fields.model_id in (None, DEFAULT_MODEL_ID) else fields.model_id
    image_id: str | None = getattr(fields, "image_id", None)
    given = getattr(fields, "image", None)
    sources: list[ImageFile]
    if body.files:
        check_count(len(body.files), limit)
        sources = [FileImage(content) for content in body.files]
        listed = len(sources) > 1
    elif given is not None:
        sources = sources_of(given, context.fetcher, tenant, limit)
        listed = isinstance(given, list)
    else:
        await context.admission.enter(share, exchange)
        images = [ImageReference(tenant, None, image_id)]
        return Call(context, exchange, fields, images, model, listed=False)
    if image_id is not None and len(sources) > 1:
        raise InvalidRequest.one("image_id can name one image, not a list of them", "image_id")
    await asyncio.gather(*(source.prefetch() for source in sources if isinstance(source, UrlImage)))
    await context.admission.enter(share, exchange)
    if image_id is not None:
        await _check_reserved(image_id, sources[0])
    quota = context.keys.quota(tenant)
    images = [ImageReference(tenant, source, image_id, quota) for source in sources]
    if given is not None:
        fields = fields.model_copy(update={"image": None})  # only the sources keep the images' megabytes
    return Call(context, exchange, fields, images, model, listed)


async def _check_reserved(image_id: str, source: ImageFile) -> None:
    """Raises InvalidRequest for an id that is reserved for other content, and the errors of `source.content`."""
    if image_id.startswith(DERIVED_PREFIX) and image_id != derived_id(await source.content_digest()):
        raise InvalidRequest.one(
            f"ids that begin with {DERIVED_PREFIX} are reserved for the digest of the image's own file, and this "
            "image has another one: leave image_id out, or choose another name",
            "image_id",
        )


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
