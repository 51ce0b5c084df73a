"""autodistill and SAHI themselves around our models, run by the Python of an environment that has them.

    python -m tests.support.hooks_driver [URL KEY]

Prints their results for the drawn scene, as JSON.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from autodistill.detection import CaptionOntology
from PIL import Image
from sahi.predict import get_prediction, get_sliced_prediction

from serve_app.hooks.autodistill import Sam3
from serve_app.hooks.model import model_of
from serve_app.hooks.sahi import Sam3DetectionModel
from tests.support.scenes import drawn, mask_iou, scene

PHRASES = ["red circle", "blue square"]


def main(*where: str) -> dict[str, Any]:
    """Counts, and the IoU of a mask of SAHI's with the drawn shape."""
    model = model_of(*where)
    base = Sam3(CaptionOntology({"red circle": "ball", "blue square": "box"}), model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.png"
        scene().save(path)
        found = base.predict(str(path))
        labelled = base.label(folder, extension=".png")
        classes, images = list(labelled.classes), len(labelled)
    whole = get_prediction(scene(), Sam3DetectionModel(PHRASES, model))
    square = next(one for one in whole.object_prediction_list if one.category.name == "blue square")
    wide = Image.new("RGB", (640, 256), (226, 224, 220))
    wide.paste(scene(), (0, 0))
    wide.paste(scene(), (320, 0))
    sliced = get_sliced_prediction(
        wide,
        Sam3DetectionModel(["blue square"], model),
        slice_height=256,
        slice_width=320,
        overlap_width_ratio=0,
        overlap_height_ratio=0,
        perform_standard_pred=False,
        verbose=0,
    )
    assert found.class_id is not None
    return {
        "predicted": sorted(found.class_id.tolist()),
        "classes": classes,
        "labelled": images,
        "iou": mask_iou(square.mask.bool_mask, drawn("blue")),
        "sliced": sorted(round(one.bbox.minx) for one in sliced.object_prediction_list),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
