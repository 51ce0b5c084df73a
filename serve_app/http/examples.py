"""Examples for the documentation: each is a request that works as it stands, on every model."""

from typing import Any

# A red circle, 96 x 96 pixels, with its centre at (44, 48).
CIRCLE_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAGAAAABgAQMAAADYVuV7AAAABlBMVEXh4eHSKCjl7V7UAAAAsklEQVR42u2TwQ3CMAxFX9wKeoMROgIbUDZjtIzACIzQ"
    "Y4RQzKF2qdogUbjWUg4/39/fshPY4peoANAQx5uDJgAE4MTunXYnhGhMADqX7FW1d01jBwGOQO2g9api4jD6TNuJACGCWAbdPE0ctwWmBnOeM59BA9b2"
    "95q/wTDntErzBKAvMJlhR0tGwcZa+TQvJZ+I5YoVyg56zFms4eTgAdwcqG8PgLNmFq9qCL1uP29dvADL9iV80Wq+wAAAAABJRU5ErkJggg=="
)
IMAGE = {"type": "base64", "value": CIRCLE_PNG}

CONCEPT_EXAMPLES: dict[str, Any] = {
    "text": {
        "summary": "Everything that a phrase names",
        "value": {"image": IMAGE, "prompts": [{"type": "text", "text": "red circle"}]},
    },
    "exemplar": {
        "summary": "Everything like what a box shows",
        "value": {
            "image": IMAGE,
            "prompts": [
                {
                    "type": "visual",
                    "boxes": [{"x": 20, "y": 24, "width": 48, "height": 48}],
                    "box_labels": [1],
                }
            ],
        },
    },
    "several": {
        "summary": "Several concepts, as run-length encoding",
        "value": {
            "image": IMAGE,
            "prompts": [
                {"type": "text", "text": "red circle"},
                {"type": "text", "text": "blue star", "output_prob_thresh": 0.7},
            ],
            "format": "rle",
            "nms_iou_threshold": 0.9,
        },
    },
}
VISUAL_EXAMPLES: dict[str, Any] = {
    "click": {
        "summary": "The object under a click",
        "value": {"image": IMAGE, "prompts": [{"points": [{"x": 44, "y": 48, "positive": True}]}]},
    },
    "box": {
        "summary": "The object in a box (x, y is its centre)",
        "value": {
            "image": IMAGE,
            "prompts": {"prompts": [{"box": {"x": 44, "y": 48, "width": 50, "height": 50}}]},
            "multimask_output": False,
            "format": "rle",
        },
    },
}
EMBED_EXAMPLES: dict[str, Any] = {
    "named": {
        "summary": "Encode under a name of your own",
        "value": {"image": IMAGE, "image_id": "my-image"},
    },
    "unnamed": {"summary": "Encode; the answer holds the name", "value": {"image": IMAGE}},
}
