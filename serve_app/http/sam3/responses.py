"""The answers' bodies, from what the segmenter returns."""

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import Response

from deployments.protocol import ConceptAnswer, Embedded, KeptImage, VisualAnswer
from deployments.results import JsonText
from sam3_engine.types import Instance, MaskFormat
from serve_app.http.sam3.concept import Sam3SegmentationFields

WIRE_FORMAT: dict[MaskFormat, str] = {"polygon": "polygon", "rle": "rle", "polygon_holes": "polygon_holes"}


def prediction(instance: Instance, mask_format: MaskFormat) -> dict[str, Any]:
    """One mask, with our own `box` (corners) and `area` beside the documented fields."""
    x0, y0, x1, y1 = instance.box
    masks = instance.masks
    return {
        "format": WIRE_FORMAT[mask_format],
        "confidence": instance.score,
        "masks": orjson.Fragment(masks.text) if isinstance(masks, JsonText) else masks,
        "box": {"x0": x0, "y0": y0, "x1": x1, "y1": y1},
        "area": instance.area,
    }


def kept_image(image: KeptImage) -> dict[str, Any]:
    """One entry of the answer of `GET /sam3/images`."""
    return {
        "image_id": image.image_id,
        "width": image.size.width,
        "height": image.size.height,
        "bytes": image.source_bytes,
        "embedding_bytes": image.embedding_bytes,
        "tier": image.tier,
        "age": image.age_s,
    }


def embed_body(answer: Embedded, seconds: float) -> dict[str, Any]:
    """The answer of `/sam3/embed_image`."""
    return {"image_id": answer.image_id, "time": seconds}


def concept_body(
    fields: Sam3SegmentationFields, answer: ConceptAnswer, mask_format: MaskFormat, seconds: float
) -> dict[str, Any]:
    """The answer of `/sam3/concept_segment`."""
    results = [
        {
            "prompt_index": index,
            "echo": prompt.echo(index),
            "predictions": [prediction(instance, mask_format) for instance in instances],
        }
        for index, (prompt, instances) in enumerate(zip(fields.prompts, answer.results, strict=True))
    ]
    return {"prompt_results": results, "time": seconds, "image_id": answer.image_id}


def visual_body(answer: VisualAnswer, mask_format: MaskFormat, seconds: float) -> dict[str, Any]:
    """The answer of `/sam3/visual_segment`: `prompt_results` as documented, `predictions` as read."""
    # Written once, used twice.
    predictions = [orjson.Fragment(_dump(prediction(instance, mask_format))) for instance in answer.results]
    return {
        "predictions": predictions,
        "prompt_results": [
            {"prompt_index": index, "predictions": [mask]} for index, mask in enumerate(predictions)
        ],
        "time": seconds,
        "image_id": answer.image_id,
    }


def answer_json(bodies: Sequence[dict[str, Any]], listed: bool) -> Response:
    """One body, or a list of them when the images came as a list."""
    return Response(_dump(list(bodies) if listed else bodies[0]), media_type="application/json")


def _dump(content: Any) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
