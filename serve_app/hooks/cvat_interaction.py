"""An interaction function for CVAT: one object by clicks and a box.

    cvat-cli function create-native "SAM 3" --function-module serve_app.hooks.cvat_interaction
    cvat-cli function run-agent ID --function-module serve_app.hooks.cvat_interaction -p url=str:http://localhost:9001

CVAT runs agents in its Enterprise and Cloud editions. Needs cvat-sdk and cvat-cli.
"""

import cvat_sdk.auto_annotation as cvataa
from cvat_sdk.masks import encode_mask
from PIL import Image

from serve_app.hooks.model import Model, file_of, model_of


class InteractionFunction:
    """CVAT's `InteractionFunction`."""

    spec = cvataa.InteractionFunctionSpec(min_pos_points=0, min_neg_points=0, min_bounding_boxes=0)

    def __init__(self, model: Model) -> None:
        self._model = model

    def preprocess_image(self, _context: cvataa.InteractionFunctionContext, image: Image.Image) -> bytes:
        """The file that all clicks on the image send: the model encodes it once."""
        return file_of(image)

    def detect(
        self,
        _context: cvataa.InteractionFunctionContext,
        pp_image: bytes,
        prompts: cvataa.InteractionPrompts,
    ) -> list[cvataa.InteractionResultShape]:
        """One mask; none for a mask without pixels."""
        box = prompts.bounding_box
        corners = (*box[0], *box[1]) if box else None
        found = self._model.object(pp_image, prompts.pos_points, prompts.neg_points, corners)
        if not found.mask.any():
            return []
        return [cvataa.InteractionResultShape(type="mask", points=encode_mask(found.mask))]


def create(url: str = "", key: str = "", model: str = "tiny", model_id: str = "") -> InteractionFunction:
    """Make the function for cvat-cli. The parameters: see `model_of`."""
    return InteractionFunction(model_of(url, key, model, model_id))
