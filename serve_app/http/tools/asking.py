"""One request of a tool: its tenant and document, and the model's answers about its images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from deployments.protocol import (
    HITS,
    Answer,
    ConceptRequest,
    ImageFile,
    ImageReference,
    PromptRequest,
    Results,
    Timings,
    VisualRequest,
)
from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.prompt_values import check_inside
from sam3_engine.types import ConceptPrompt, ConceptResult
from serve_app.http.around.exchange import Exchange, exchange_of
from serve_app.http.caller import authenticated
from serve_app.http.context import HttpContext, context_of
from serve_app.http.errors import BadImage, InvalidRequest
from serve_app.http.reading.body import Shorten
from serve_app.http.reading.images import UrlImage
from serve_app.http.sam3.call import all_or_none
from serve_app.http.sam3.concept import DEFAULT_THRESHOLD
from serve_app.http.schemas import MAX_PROMPTS, RequestModel
from serve_app.models import ServedModel

T = TypeVar("T")
Fields = TypeVar("Fields", bound=RequestModel)
Question = tuple[ImageFile, PromptRequest[Any], ServedModel]
OF_THE_IMAGE = (BadImage, UnreadableImage, ImageTooLarge)
"""Errors of one image, which say nothing about others."""


@dataclass(frozen=True, slots=True)
class Asking:
    """A tool's request whose tenant is known and whose body is read."""

    context: HttpContext
    exchange: Exchange
    tenant: str
    document: dict[str, Any]

    def fields(self, schema: type[Fields]) -> Fields:
        """The document's fields. Raises InvalidRequest."""
        try:
            return schema.model_validate(self.document)
        except ValidationError as error:
            raise InvalidRequest.of(error) from None

    async def enter(self, images: Sequence[ImageFile]) -> None:
        """Fetch images given by URL, and wait for the tenant's turn, once in a request. Raises Overloaded."""
        await all_or_none([image.prefetch() for image in images if isinstance(image, UrlImage)])
        if self.exchange.ticket is not None:
            return
        await self.context.admission.enter(self.context.keys.share(self.tenant), self.exchange)

    async def ask(
        self, image: ImageFile, request: PromptRequest[Results], model: ServedModel
    ) -> Answer[Results]:
        """The model's answer about one image. Raises the errors of the table."""
        (answer,) = await self.ask_all([(image, request, model)])
        return answer

    async def ask_all(self, questions: Sequence[Question]) -> list[Answer[Any]]:
        """The models' answers, in order, asked for at once. The first error ends all."""
        timings = self.exchange.timings
        before = timings.cache
        each = [Timings(timings.request_id, timings.deadline) for _ in questions]
        try:
            return await all_or_none(
                [self._answer(question, own) for question, own in zip(questions, each, strict=True)]
            )
        finally:
            timings.merge(each)
            if before is not None and before not in HITS:  # of the request's earlier questions
                timings.cache = before

    async def ask_phrases(
        self,
        image: ImageFile,
        phrases: Sequence[str],
        threshold: float,
        model: ServedModel,
        nms_iou_threshold: float | None = None,
    ) -> list[ConceptResult]:
        """The result of each phrase, in order, by as many requests as the phrases need. Raises as `ask`."""
        requests = [
            ConceptRequest(
                prompts=[ConceptPrompt(phrase, score_threshold=threshold) for phrase in part],
                mask_format="rle",
                nms_iou_threshold=nms_iou_threshold,
            )
            for part in in_parts(phrases, MAX_PROMPTS)
        ]
        answers = await self.ask_all([(image, request, model) for request in requests])
        return [result for answer in answers for result in answer.results]

    async def _answer(self, question: Question, timings: Timings) -> Answer[Any]:
        image, request, model = question
        exchange = self.exchange
        exchange.model = model.name
        exchange.model_id = model.name
        prompts = request.prompts if isinstance(request, ConceptRequest | VisualRequest) else ()
        exchange.prompts = max(exchange.prompts, len(prompts))
        if isinstance(request, ConceptRequest):
            exchange.texts += [prompt.text for prompt in request.prompts if prompt.text]
        quota = self.context.keys.quota(self.tenant)
        reference = ImageReference(self.tenant, image, quota=quota)
        answer = await self.context.segmenter().answer(reference, request, timings, model.name)
        exchange.sizes.append(answer.size)
        exchange.image_ids.append(answer.image_id)
        try:
            check_inside(prompts, answer.size)
        except ValueError as error:
            raise InvalidRequest.one(str(error)) from None
        return answer


async def read_asking(request: Request, shorten: Shorten | None = None) -> Asking:
    """The tool's request. shorten: see `read_body`. Raises the errors of the table about keys and bodies."""
    tenant, body = await authenticated(request, shorten)
    if body.files is not None:
        raise InvalidRequest.one("send application/json", kind="content_type")
    return Asking(context_of(request), exchange_of(request), tenant, body.document)


def threshold_of(model: ServedModel, asked: float | None = None) -> float:
    """The least score of instances: the request's, else the model's, else that of all routes."""
    return next((one for one in (asked, model.threshold) if one is not None), DEFAULT_THRESHOLD)


def in_parts(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """The items, at most so many at a time."""
    return [items[start : start + most] for start in range(0, len(items), most)]
