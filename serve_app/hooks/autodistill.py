"""A base model for autodistill, which labels folders of images to train smaller models on.

from autodistill.detection import CaptionOntology
from serve_app.hooks.autodistill import Sam3
from serve_app.hooks.model import model_of

base = Sam3(CaptionOntology({"red circle": "ball"}), model_of("http://localhost:9001"))
base.label("images", extension=".jpg")
"""

import numpy as np
import numpy.typing as npt
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel
from autodistill.helpers import load_image
from PIL import Image

from serve_app.hooks.model import DEFAULT_THRESHOLD, Model
from serve_app.hooks.supervision import detect


class Sam3(DetectionBaseModel):  # type: ignore[misc]  # autodistill is not there where types are checked
    """autodistill's `DetectionBaseModel`. ontology: the phrases to look for, and the class of each."""

    def __init__(self, ontology: CaptionOntology, model: Model, threshold: float = DEFAULT_THRESHOLD) -> None:
        super().__init__(ontology)
        self._model = model
        self._threshold = threshold

    def predict(self, input: str | npt.NDArray[np.uint8] | Image.Image) -> sv.Detections:
        """Every instance of every phrase, with masks. input: a path, an array in BGR, or a Pillow image."""
        picture = load_image(input, return_format="PIL")
        return detect(self._model, picture, self.ontology.prompts(), self._threshold)
