"""The answer of `format: binary`: masks as arrays, in a compressed .npz file without pickles."""

import io
from collections.abc import Sequence

import numpy as np

from deployments.protocol import Answer
from sam3_engine.types import Instance
from serve_app.http.errors import TooLarge

MAX_MASK_BYTES = 512 * 1024 * 1024


def npz(answer: Answer[Sequence[Instance]]) -> bytes:
    """masks: bool [N, H, W]; confidences: float32 [N]; low_res_logits: float32 [N, h, w]. Raises TooLarge."""
    height, width = answer.size
    if len(answer.results) * height * width > MAX_MASK_BYTES:
        raise TooLarge(f"the masks take more than {MAX_MASK_BYTES} bytes: send fewer prompts or use rle")
    logits = [instance.low_res_logits for instance in answer.results]
    file = io.BytesIO()
    np.savez_compressed(
        file,
        masks=np.stack([np.asarray(instance.masks, dtype=np.bool_) for instance in answer.results]),
        confidences=np.array([instance.score for instance in answer.results], dtype=np.float32),
        low_res_logits=np.stack([np.asarray(one, dtype=np.float32) for one in logits]),
    )
    return file.getvalue()
