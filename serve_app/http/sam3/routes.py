"""The three routes of SAM 3."""

import asyncio

from fastapi import APIRouter, Request, Response

from deployments.protocol import ConceptAnswer, Embedded, ImageReference, Trace, VisualAnswer
from serve_app.http.errors import UnsupportedFormat
from serve_app.http.models import check_model_id
from serve_app.http.sam3.call import Forms, read_call
from serve_app.http.sam3.concept import (
    Sam3CachedSegmentationRequest,
    Sam3SegmentationFields,
    Sam3SegmentationRequest,
)
from serve_app.http.sam3.documentation import CONCEPT, EMBED, VISUAL
from serve_app.http.sam3.image_fields import Sam3EmbedFields, Sam3EmbedImageRequest
from serve_app.http.sam3.npz import npz
from serve_app.http.sam3.responses import answer_json, concept_body, embed_body, visual_body
from serve_app.http.sam3.visual import (
    Sam2CachedSegmentationRequest,
    Sam2SegmentationFields,
    Sam2SegmentationRequest,
)

router = APIRouter(tags=["SAM 3"])

CONCEPT_FORMS = Forms(Sam3SegmentationFields, Sam3SegmentationRequest, Sam3CachedSegmentationRequest)
VISUAL_FORMS = Forms(Sam2SegmentationFields, Sam2SegmentationRequest, Sam2CachedSegmentationRequest)
EMBED_FORMS = Forms(Sam3EmbedFields, Sam3EmbedImageRequest)


@router.post("/sam3/concept_segment", **CONCEPT)
async def concept_segment(request: Request) -> Response:
    """Segment every instance of each concept (PCS).

    A concept is named by a text, shown by example boxes, or both. `masks` are polygons or run-length
    encodings in the pixels of the upright image.
    """
    call = await read_call(request, CONCEPT_FORMS)
    call.exchange.model_id = check_model_id(call.fields.model_id, call.context.settings)
    asked = call.fields.to_request()
    call.asks(asked.prompts)
    segmenter = call.context.segmenter()

    async def ask(image: ImageReference, trace: Trace) -> ConceptAnswer:
        return await segmenter.concept(image, asked, trace)

    answers = await call.for_each(ask)
    seconds = call.exchange.seconds
    bodies = [concept_body(call.fields, answer, asked.mask_format, seconds) for answer in answers]
    return answer_json(bodies, call.listed)


@router.post("/sam3/visual_segment", **VISUAL)
async def visual_segment(request: Request) -> Response:
    """Segment the objects that clicks and boxes show (PVS): one mask per prompt.

    Send `image_id` alone for an image that the server has: nothing is uploaded or encoded again.
    """
    call = await read_call(request, VISUAL_FORMS)
    asked = call.fields.to_request()
    call.asks(asked.prompts)
    if asked.mask_format == "binary" and call.listed:
        raise UnsupportedFormat("binary", ["json", "rle", "polygon_holes"], "for a list of images")
    segmenter = call.context.segmenter()

    async def ask(image: ImageReference, trace: Trace) -> VisualAnswer:
        return await segmenter.visual(image, asked, trace)

    answers = await call.for_each(ask)
    if asked.mask_format == "binary":
        return Response(await asyncio.to_thread(npz, answers[0]), media_type="application/octet-stream")
    seconds = call.exchange.seconds
    bodies = [visual_body(answer, asked.mask_format, seconds) for answer in answers]
    return answer_json(bodies, call.listed)


@router.post("/sam3/embed_image", **EMBED)
async def embed_image(request: Request) -> Response:
    """Encode an image once. Requests that send its `image_id` later encode nothing."""
    call = await read_call(request, EMBED_FORMS)
    segmenter = call.context.segmenter()

    async def ask(image: ImageReference, trace: Trace) -> Embedded:
        return await segmenter.embed(image, trace)

    answers = await call.for_each(ask)
    seconds = call.exchange.seconds
    return answer_json([embed_body(answer, seconds) for answer in answers], call.listed)
