"""A detection function for CVAT: every instance of each label.

    cvat-cli task auto-annotate 7 --function-module serve_app.hooks.cvat_detection \\
        -p labels=str:"ball=red circle,blue square" -p url=str:http://localhost:9001

Without `url`, the model runs in the process of cvat-cli (`-p model=str:sam3`). Needs cvat-sdk and cvat-cli.
"""

from collections.abc import Iterator

import cvat_sdk.auto_annotation as cvataa
from cvat_sdk import models
from cvat_sdk.masks import encode_mask
from PIL import Image

from serve_app.hooks.model import DEFAULT_THRESHOLD, Found, Model, file_of, model_of
from serve_app.http.tools.outlines import outlines


class DetectionFunction:
    """CVAT's `DetectionFunction`. phrases: the phrase to look for, by label."""

    def __init__(self, model: Model, phrases: dict[str, str]) -> None:
        self._model = model
        self._phrases = phrases
        self.spec = cvataa.DetectionFunctionSpec(
            labels=[cvataa.label_spec(label, number, type="any") for number, label in enumerate(phrases)]
        )

    def detect(
        self, context: cvataa.DetectionFunctionContext, image: Image.Image
    ) -> list[models.LabeledShapeRequest]:
        """Masks, or polygons where CVAT wants these."""
        threshold = DEFAULT_THRESHOLD if context.conf_threshold is None else context.conf_threshold
        found = self._model.concepts(file_of(image), list(self._phrases.values()), threshold)
        return [
            shape
            for number, instances in enumerate(found)
            for one in instances
            if one.mask.any()
            for shape in _shapes(number, one, polygons=context.conv_mask_to_poly)
        ]


def _shapes(label: int, found: Found, *, polygons: bool) -> Iterator[models.LabeledShapeRequest]:
    if polygons:
        for outline in outlines(found.mask):
            yield cvataa.polygon(label, outline.ravel().tolist())
    else:
        yield cvataa.mask(label, encode_mask(found.mask))


def create(
    labels: str, url: str = "", key: str = "", model: str = "tiny", model_id: str = ""
) -> DetectionFunction:
    """Make the function for cvat-cli. labels: separated by commas, `label` or `label=phrase`. The others: see
    `model_of`."""
    pairs = (entry.partition("=") for entry in labels.split(",") if entry.strip())
    phrases = {label.strip(): (phrase or label).strip() for label, _, phrase in pairs}
    if not phrases or not all(phrases) or not all(phrases.values()):
        raise ValueError("labels: name at least one, as label or label=phrase, separated by commas")
    return DetectionFunction(model_of(url, key, model, model_id), phrases)
