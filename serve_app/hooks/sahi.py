"""A detection model for SAHI, which looks for small things in large pictures slice by slice.

from sahi.predict import get_sliced_prediction
from serve_app.hooks.model import model_of
from serve_app.hooks.sahi import Sam3DetectionModel

model = Sam3DetectionModel(["red circle"], model_of("http://localhost:9001"))
found = get_sliced_prediction("large.jpg", model, slice_height=1008, slice_width=1008)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from sahi.models.base import DetectionModel
from sahi.prediction import ObjectPrediction

from serve_app.hooks.model import DEFAULT_THRESHOLD, Found, Model, file_of
from serve_app.http.tools.outlines import outlines


class Sam3DetectionModel(DetectionModel):  # type: ignore[misc]  # SAHI is not there where types are checked
    """SAHI's `DetectionModel`. A category is a phrase, its id the phrase's place."""

    def __init__(
        self, phrases: Sequence[str], model: Model, confidence_threshold: float = DEFAULT_THRESHOLD
    ) -> None:
        self._phrases = list(phrases)
        super().__init__(
            model=model,
            device="cpu",
            confidence_threshold=confidence_threshold,
            category_mapping={str(number): phrase for number, phrase in enumerate(phrases)},
        )

    def set_model(self, model: Model, **_: Any) -> None:
        """Called by SAHI with the model that was given."""
        self.model = model

    def perform_inference(self, image: npt.NDArray[np.uint8]) -> None:
        """Called by SAHI with each slice, [H, W, 3] in RGB."""
        content = file_of(Image.fromarray(image))
        self._original_predictions = self.model.concepts(content, self._phrases, self.confidence_threshold)

    def _create_object_prediction_list_from_original_predictions(
        self,
        shift_amount_list: list[list[int]] | None = None,
        full_shape_list: list[list[int]] | None = None,
    ) -> None:
        shift = _first(shift_amount_list) or [0, 0]
        size = _first(full_shape_list)
        self._object_prediction_list_per_image = [
            [
                self._prediction(number, one, shift, size)
                for number, instances in enumerate(self._original_predictions)
                for one in instances
                if outlines(one.mask)
            ]
        ]

    def _prediction(self, number: int, found: Found, shift: list[int], size: list[int] | None) -> Any:
        return ObjectPrediction(
            bbox=list(found.box()),
            category_id=number,
            category_name=self._phrases[number],
            segmentation=[outline.ravel().tolist() for outline in outlines(found.mask)],
            score=found.score,
            shift_amount=shift,
            full_shape=size or list(found.mask.shape),
        )


def _first(values: Any) -> list[int] | None:
    """SAHI gives one image's values alone, or in a list."""
    if not values:
        return None
    return list(values[0]) if isinstance(values[0], Sequence) else list(values)
