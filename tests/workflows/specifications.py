"""Workflows of these tests. The first two are the documented ones, their concepts changed to drawn shapes."""

from typing import Any

DOCUMENTED: dict[str, Any] = {
    "version": "1.0",
    "inputs": [{"type": "InferenceImage", "name": "image"}],
    "steps": [
        {
            "type": "roboflow_core/sam3@v1",
            "name": "sam",
            "images": "$inputs.image",
            "class_names": "red circle",
        },
        {
            "type": "roboflow_core/polygon_visualization@v1",
            "name": "polygon_visualization",
            "image": "$inputs.image",
            "predictions": "$steps.sam.predictions",
        },
    ],
    "outputs": [
        {
            "type": "JsonField",
            "name": "output",
            "coordinates_system": "own",
            "selector": "$steps.polygon_visualization.image",
        }
    ],
}
"""The hosted documentation's "SAM3 Concept Segmentation workflow"; its class_names are "dog"."""

INTERACTIVE_STEP: dict[str, Any] = {
    "name": "<your_step_name_here>",
    "type": "roboflow_core/sam3_interactive@v1",
    "images": "$inputs.image",
    "points": [{"positive": True, "x": 320, "y": 240}],
    "boxes": "$steps.object_detection_model.predictions",
    "threshold": 0.3,
    "multimask_output": True,
}
"""The documented example of the block, literally."""


def workflow(*steps: dict[str, Any], inputs: Any = (), **outputs: str) -> dict[str, Any]:
    """A workflow over `$inputs.image` with the outputs named by their selectors."""
    return {
        "version": "1.0",
        "inputs": [{"type": "InferenceImage", "name": "image"}, *inputs],
        "steps": list(steps),
        "outputs": [
            {"type": "JsonField", "name": name, "selector": selector} for name, selector in outputs.items()
        ],
    }


def sam3(version: int = 3, name: str = "sam", images: str = "$inputs.image", **fields: Any) -> dict[str, Any]:
    """A SAM 3 step that finds red circles."""
    step = {"type": f"roboflow_core/sam3@v{version}", "name": name, "images": images}
    return {**step, "class_names": "red circle", **fields}


def visualization(kind: str, name: str = "drawn", **fields: Any) -> dict[str, Any]:
    """A step that draws what `sam` found."""
    step = {"type": f"roboflow_core/{kind}", "name": name, "image": "$inputs.image"}
    return {**step, "predictions": "$steps.sam.predictions", **fields}


def interactive(box_step: str = "object_detection_model") -> dict[str, Any]:
    """The documented block with a name, between a step of that name that gives the boxes, and the outputs."""
    boxes = sam3(name=box_step)
    step = {**INTERACTIVE_STEP, "name": "interactive"}
    drawn = visualization("polygon_visualization@v1", predictions="$steps.interactive.predictions")
    return workflow(
        boxes, step, drawn, predictions="$steps.interactive.predictions", output="$steps.drawn.image"
    )


def video(name: str = "video", **fields: Any) -> dict[str, Any]:
    """A step that follows objects through a video."""
    step = {"type": "roboflow_core/sam3_video@v1", "name": name, "images": "$inputs.image"}
    return {**step, **fields}
