"""The functions: `sam3-interactor`, and `sam3-detector` where the settings name labels.

CVAT reads annotations as text, and takes any text for true: what is false is left out. A browser with CVAT decodes by
itself for a function that is called `pth-facebookresearch-sam-vit-h`: no name of ours is that.
"""

import json
from typing import Any

from serve_app.settings import Settings

INTERACTOR, DETECTOR = "sam3-interactor", "sam3-detector"


def phrases(settings: Settings) -> dict[str, str]:
    """The phrase to look for, by label."""
    pairs = (entry.partition("=") for entry in settings.cvat_labels)
    return {label.strip(): (phrase or label).strip() for label, _, phrase in pairs}


def functions(settings: Settings) -> dict[str, dict[str, Any]]:
    """The functions by name."""
    found = [
        _function(
            INTERACTOR,
            "One object, by clicks and a box, with Segment Anything 3",
            name="Segment Anything 3",
            type="interactor",
            spec="[]",
            min_pos_points="0",
            min_neg_points="0",
            startswith_box_optional="true",
            help_message="Click on an object, or draw a box around it. Further clicks refine the mask",
        )
    ]
    labels = [
        {"id": index, "name": label, "type": "mask", "attributes": []}
        for index, label in enumerate(phrases(settings))
    ]
    if labels:
        found.append(
            _function(
                DETECTOR,
                "Every instance of its labels, with Segment Anything 3",
                name="Segment Anything 3: labels",
                type="detector",
                spec=json.dumps(labels),
            )
        )
    return {function["metadata"]["name"]: function for function in found}


def _function(identifier: str, description: str, **annotations: str) -> dict[str, Any]:
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
