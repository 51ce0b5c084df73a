"""A frame's answer as JSON, which every process passes on unchanged."""

from typing import Any

import orjson

from deployments.video.messages import EncodedFrame
from sam3_engine.encode_masks import encode
from sam3_engine.regions import mask_of_array
from sam3_engine.tracking.sessions import Answer, Shown
from sam3_engine.types import ImageSize, MaskFormat


def frame_json(frame: EncodedFrame, answer: Answer, mask_format: MaskFormat, warnings: list[str]) -> bytes:
    """The objects of a frame. Its fields are those of `serve_app.http.video.schemas.VideoFrame`."""
    objects, hidden = [], []
    for shown in answer.shown:
        found = _object(shown, frame.size, mask_format)
        if found is None:
            hidden.append(shown.id)
        else:
            objects.append(found)
    if answer.dropped:
        most = answer.session.rules.most
        warnings = [
            *warnings,
            f"{answer.dropped} more objects were found: the session follows {most} at most",
        ]
    return orjson.dumps(
        {
            "frame": frame.number,
            "seconds": None if frame.seconds is None else round(frame.seconds, 6),
            "width": frame.size.width,
            "height": frame.size.height,
            "objects": objects,
            "hidden": hidden,
            "ended": answer.died,
            "warnings": warnings,
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )


def _object(shown: Shown, size: ImageSize, mask_format: MaskFormat) -> dict[str, Any] | None:
    """None for an object without a pixel in the frame."""
    mask = mask_of_array(shown.mask_logits.numpy(), size)
    if not mask.area:
        return None
    x0, y0, x1, y1 = mask.box
    return {
        "id": shown.id,
        "label": shown.label,
        "confidence": shown.score,
        "presence": shown.presence,
        "format": mask_format,
        "masks": encode(mask, mask_format, arrays=True),
        "box": {"x0": x0, "y0": y0, "x1": x1, "y1": y1},
        "area": mask.area,
    }
