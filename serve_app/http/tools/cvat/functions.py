"""The functions: `sam3-interactor`, and `sam3-detector` where the settings name labels. Each further model has its own
ones, `sam3-interactor.NAME`. `sam3-tracker` is the default model's, where it follows videos.

CVAT reads annotations as text, and takes any text for true: what is false is left out. A browser with CVAT decodes by
itself for a function that is called `pth-facebookresearch-sam-vit-h`: no name of ours is that.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from serve_app.models import Registry, ServedModel
from serve_app.settings import Settings

INTERACTOR, DETECTOR, TRACKER = "sam3-interactor", "sam3-detector", "sam3-tracker"
TITLE = "Segment Anything 3"


def phrases(settings: Settings) -> dict[str, str]:
    """The phrase to look for, by label."""
    pairs = (entry.partition("=") for entry in settings.cvat_labels)
    return {label.strip(): (phrase or label).strip() for label, _, phrase in pairs}


@dataclass(frozen=True, slots=True)
class Function:
    """A function. kind: `interactor`, `detector` or `tracker`. item: its description as the dashboard has it."""

    kind: str
    model: ServedModel
    item: dict[str, Any]


def functions(settings: Settings, models: Registry) -> dict[str, Function]:
    """The functions by name, those of the default model first."""
    found: dict[str, Function] = {}
    for model in sorted(models.models, key=lambda one: one is not models.default):
        # CVAT's paths hold letters, digits and these: _ . -
        end = "" if model is models.default else f".{model.name.replace('/', '.')}"
        while f"{INTERACTOR}{end}" in found:  # a/b after a.b
            end += "-2"
        title = TITLE if model is models.default else model.name
        for function in _of_model(model, title, end, list(phrases(settings))):
            found[function.item["metadata"]["name"]] = function
    if settings.tracks_videos:
        item = _item(
            TRACKER,
            f"Shapes through the frames of a video, with {TITLE}",
            name=TITLE,
            type="tracker",
            spec="[]",
            supported_shape_types="rectangle,polygon",
        )
        found[TRACKER] = Function("tracker", models.default, item)
    return found


def _of_model(model: ServedModel, title: str, end: str, labels: list[str]) -> Iterator[Function]:
    item = _item(
        f"{INTERACTOR}{end}",
        f"One object, by clicks and a box, with {title}",
        name=title,
        type="interactor",
        spec="[]",
        min_pos_points="0",
        min_neg_points="0",
        startswith_box_optional="true",
        help_message="Click on an object, or draw a box around it. Further clicks refine the mask",
    )
    yield Function("interactor", model, item)
    if labels:
        spec = [
            {"id": index, "name": label, "type": "mask", "attributes": []}
            for index, label in enumerate(labels)
        ]
        item = _item(
            f"{DETECTOR}{end}",
            f"Every instance of its labels, with {title}",
            name=f"{title}: labels",
            type="detector",
            spec=json.dumps(spec),
        )
        yield Function("detector", model, item)


def _item(identifier: str, description: str, **annotations: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": identifier,
            "namespace": "nuclio",
            "labels": {"nuclio.io/project-name": "cvat"},
            "annotations": {**annotations, "framework": "pytorch", "version": "2"},
        },
        "spec": {"description": description, "handler": "main:handler", "runtime": "python"},
        "status": {"state": "ready", "httpPort": 0},
    }
