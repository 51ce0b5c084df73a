"""The `sam3` package's own path on our engine's weights: one image and one prompt at a time, with the state on the
model. It is the code that a user of the package would write, and the baseline for the engine."""

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from sam3.model.sam1_task_predictor import SAM3InteractiveImagePredictor
from sam3.model.sam3_image_processor import Sam3Processor

from sam3_engine.engine import Engine

Mask = tuple[float, npt.NDArray[np.bool_]]
"""Score; mask, bool [H, W]."""


@dataclass
class Official:
    """`Sam3Processor` and `predict_inst`. Not safe for several threads."""

    engine: Engine

    def __post_init__(self) -> None:
        model, spec = self.engine.model, self.engine.spec
        self._processor = Sam3Processor(
            model, resolution=spec.image_size, device=str(self.engine.device), confidence_threshold=0.5
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit")
            self._predictor = SAM3InteractiveImagePredictor(model.inst_interactive_predictor.model)
        # The package sets this for 1008 pixels, whatever the model's size.
        self._predictor._bb_feat_sizes = [(spec.grid * scale,) * 2 for scale in (4, 2, 1)]

    def _inference(self) -> AbstractContextManager[None]:
        return self.engine._inference(self.engine.precision.trunk)

    def set_image(self, image: Image.Image) -> dict[str, Any]:
        """Encode an image; returns the state for its prompts, which holds both feature pyramids."""
        with self._inference():
            return dict(self._processor.set_image(image))

    def concept(self, state: dict[str, Any], text: str) -> list[Mask]:
        """The instances of one text prompt."""
        with self._inference():
            self._processor.reset_all_prompts(state)
            found = self._processor.set_text_prompt(text, state)
            scores, masks = found["scores"].float().cpu(), found["masks"].cpu().numpy()
        return [(float(score), mask[0]) for score, mask in zip(scores, masks, strict=True)]

    def click(
        self, state: dict[str, Any], points: Sequence[tuple[float, float]], labels: Sequence[int]
    ) -> Mask:
        """The best mask of one prompt."""
        model = self.engine.model
        ours, model.inst_interactive_predictor = model.inst_interactive_predictor, self._predictor
        try:
            with self._inference():
                masks, scores, _ = model.predict_inst(
                    state, point_coords=np.array(points), point_labels=np.array(labels), multimask_output=True
                )
        finally:
            model.inst_interactive_predictor = ours
        best = int(np.argmax(scores))
        return float(scores[best]), masks[best] > 0


def prediction(mask: Mask) -> dict[str, Any]:
    """A mask in the form of an answer: the contours of the full-size mask."""
    score, pixels = mask
    contours, _ = cv2.findContours(
        np.ascontiguousarray(pixels, np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    ys, xs = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    box = [float(v) for v in (xs[0], ys[0], xs[-1] + 1, ys[-1] + 1)] if len(xs) else [0.0] * 4
    return {
        "format": "polygon",
        "confidence": min(max(score, 0.0), 1.0),
        "masks": [contour[:, 0, :].tolist() for contour in contours],
        "box": dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)),
        "area": int(np.count_nonzero(pixels)),
    }


def synchronise(engine: Engine) -> None:
    """Wait until the device has finished its work."""
    if engine.device.type == "cuda":
        torch.cuda.synchronize(engine.device)
