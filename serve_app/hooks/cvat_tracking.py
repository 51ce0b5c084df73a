"""A tracking function for CVAT: rectangles and polygons followed from frame to frame.

    cvat-cli function create-native "SAM 3" --function-module serve_app.hooks.cvat_tracking
    cvat-cli function run-agent ID --function-module serve_app.hooks.cvat_tracking -p url=str:http://localhost:9001

CVAT runs agents in its Enterprise and Cloud editions. Needs cvat-sdk and cvat-cli.
"""

from typing import Any

import cvat_sdk.auto_annotation as cvataa
from PIL import Image

from serve_app.hooks.tracker import Tracker, tracker_of
from serve_app.http.tools.cvat.schemas import CvatShape
from serve_app.http.tools.cvat.shapes import followed


class TrackingFunction:
    """CVAT's `TrackingFunction`. A shape begins by its box."""

    spec = cvataa.TrackingFunctionSpec(supported_shape_types={"rectangle", "polygon"})

    def __init__(self, tracker: Tracker[Any, Any]) -> None:
        self._tracker = tracker

    def preprocess_image(self, _context: cvataa.TrackingFunctionContext, image: Image.Image) -> Any:
        """The picture that all shapes of the image share."""
        return self._tracker.picture(image)

    def init_tracking_state(
        self,
        _context: cvataa.TrackingFunctionShapeContext,
        pp_image: Any,
        shape: cvataa.TrackableShape,
    ) -> Any:
        """The object that the shape shows, from this image on."""
        given = CvatShape.model_validate({"type": shape.type, "points": shape.points})
        return self._tracker.begin(pp_image, given.box())

    def track(
        self, context: cvataa.TrackingFunctionShapeContext, pp_image: Any, state: Any
    ) -> cvataa.TrackableShape | None:
        """The shape in the next image, a polygon by its outline; None where the object is not seen."""
        found = self._tracker.follow(state, pp_image)
        if found is None or not found.mask.any():
            return None
        kind = context.original_shape_type
        return cvataa.TrackableShape(type=kind, points=followed(kind, found.box(), lambda: found.mask))


def create(url: str = "", key: str = "", model: str = "tiny") -> TrackingFunction:
    """Make the function for cvat-cli. The parameters: see `tracker_of`."""
    return TrackingFunction(tracker_of(url, key, model))
