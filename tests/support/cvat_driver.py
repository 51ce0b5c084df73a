"""CVAT's own drivers around our functions, run by the Python of an environment with cvat-sdk and cvat-cli.

    python -m tests.support.cvat_driver [URL KEY]

Only CVAT's server is played: the task's picture is a file, and the annotations that would be uploaded are looked at.
Prints the IoU of each mask with the drawn shape, and the seconds of a first and a second click, as JSON.
"""

import io
import json
import logging
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cvat_sdk.auto_annotation.driver as driver
import numpy as np
import numpy.typing as npt
from cvat_cli._internal import agent_driver
from cvat_cli._internal import agent_driver_interaction as agent
from cvat_cli._internal import agent_driver_tracking as tracking
from cvat_cli._internal.common import FunctionLoader
from cvat_sdk import models
from cvat_sdk.masks import decode_mask
from PIL import Image

from tests.support.clips import RADIUS, blue_at, frame, red_at
from tests.support.scenes import HEIGHT, SQUARE, WIDTH, box_iou, centre, drawn, mask_iou, numbered, scene

LABELS = "ball=red circle,blue square"
FIRST_LABEL = 70
Prompts = agent._InteractionPromptsImpl


def load(kind: str, **parameters: str) -> Any:
    """A function as `--function-module` and `-p` load it."""
    module = f"serve_app.hooks.cvat_{kind}"
    return FunctionLoader(function_module=module, function_file=None, function_parameters=parameters).load()


def annotated(function: Any, picture: Image.Image, **options: Any) -> list[Any]:
    """The shapes that `cvat-cli task auto-annotate` would upload for a picture. Label ids count from FIRST_LABEL."""
    labels = [
        SimpleNamespace(id=FIRST_LABEL + number, name=label.name, type="any", attributes=[], sublabels=[])
        for number, label in enumerate(function.spec.labels)
    ]
    media = SimpleNamespace(load_image=lambda: picture)
    sample = SimpleNamespace(frame_name="scene.png", frame_index=4, media=media)
    uploaded: list[models.PatchedLabeledDataRequest] = []
    api = SimpleNamespace(
        partial_update_annotations=lambda *_, patched_labeled_data_request: uploaded.append(
            patched_labeled_data_request
        )
    )
    client: Any = SimpleNamespace(logger=logging.getLogger("cvat"), tasks=SimpleNamespace(api=api))
    dataset = SimpleNamespace(labels=labels, samples=[sample])
    driver.TaskDataset = lambda *_, **__: dataset
    driver.annotate_task(client, 1, function, **options)
    shapes = list(uploaded[0].shapes)
    assert all(shape.frame == 4 for shape in shapes)
    return shapes


def clicked(function: Any, picture: Image.Image, *prompts: Any) -> tuple[list[Any], list[float]]:
    """The shapes that CVAT's agent answers to prompts about one picture, and the seconds of each."""
    agent.AgentInteractionFunctionDriver.init_worker(None)
    agent.worker_current_function = lambda: function  # the executor's process has one
    shapes, seconds = [], [time.perf_counter()]
    for number, prompt in enumerate(prompts):
        if number:
            found = agent._worker_job_interact_from_cache("key", prompt)
        else:
            found = agent._worker_job_interact("key", picture, prompt)
        (shape,) = found or []
        shapes.append(shape)
        seconds.append(time.perf_counter())
    return shapes, np.diff(seconds).tolist()


def followed(function: Any, frames: int) -> dict[str, Any]:
    """What CVAT's agent makes of its requests to follow a rectangle and a polygon through the drawn clip."""
    samples = [
        SimpleNamespace(
            frame_index=number, media=SimpleNamespace(load_image=lambda number=number: frame(number))
        )
        for number in range(frames)
    ]
    agent_driver.cvatds.TaskDataset = lambda *_, **__: SimpleNamespace(samples=samples, labels=[])
    agent_driver.set_worker_current_function(function)
    names = (f"state-{number}" for number in range(100))
    kind = tracking.AgentTrackingFunctionDriver
    kind.init_worker(lambda: next(names))
    # The executor is a process of the agent's own: here its jobs run at once.
    executor = SimpleNamespace(submit=lambda job, *words: job(*words), result=lambda done: done)
    one = kind(None, executor, function.spec)
    fields = kind.get_remote_function_fields(function.spec)
    one.validate_function_compatibility(fields)

    def ask(kind: str, number: int, **words: Any) -> dict[str, Any]:
        """The answer as CVAT's server gets it."""
        request = {"type": kind, "task": 1, "frame": number, **words}
        answer: dict[str, Any] = json.loads(json.dumps(one.calculate_result_for_ar(request, lambda: None)))
        return answer

    x0, y0, x1, y1 = _around(blue_at(0))
    shapes = [
        {"type": "rectangle", "points": _around(red_at(0))},
        {"type": "polygon", "points": [x0, y0, x1, y0, x1, y1, x0, y1]},
    ]
    states = ask("init_tracking", 0, shapes=shapes)["states"]
    ious = []
    for number in range(1, frames):
        answer = ask("track", number, states=states)
        states = answer["states"]
        red, blue = answer["shapes"]
        assert (red["type"], blue["type"]) == ("rectangle", "polygon")
        outline = np.array(blue["points"]).reshape(-1, 2)
        ious.append(box_iou(red["points"], _around(red_at(number))))
        ious.append(box_iou([*outline.min(axis=0), *outline.max(axis=0)], _around(blue_at(number))))
    return {"fields": fields, "iou": min(ious)}


def _around(place: tuple[int, int]) -> list[float]:
    x, y = place
    return [x - RADIUS, y - RADIUS, x + RADIUS + 1, y + RADIUS + 1]


def iou(points: list[float], truth: npt.NDArray[np.bool_]) -> float:
    return mask_iou(decode_mask(points, image_width=WIDTH, image_height=HEIGHT), truth)


def main(*where: str) -> dict[str, Any]:
    """The results of CVAT's drivers with our functions, by name."""
    given = dict(zip(("url", "key"), where, strict=False))
    detection = load("detection", labels=LABELS, **given)
    masks = annotated(detection, scene())
    squares = [shape for shape in masks if shape.label_id == 71]
    polygons = annotated(detection, scene(), conv_mask_to_poly=True)
    strict = annotated(detection, scene(), conf_threshold=1.0)

    interaction = load("interaction", **given)
    click, box = (centre(SQUARE),), ((190.0, 30.0), (270.0, 110.0))
    once = Prompts(pos_points=click, neg_points=(), bounding_box=None)
    refine = Prompts(pos_points=click, neg_points=((5.0, 5.0),), bounding_box=box)
    picture = Image.open(io.BytesIO(numbered(970)))
    (first, refined, again), seconds = clicked(interaction, picture, once, refine, refine)
    return {
        "tracking": followed(load("tracking", **given), 5),
        "fields": agent.AgentInteractionFunctionDriver.get_remote_function_fields(interaction.spec),
        "labels": sorted(shape.label_id for shape in masks),
        "types": sorted(
            {shape.type.value if hasattr(shape.type, "value") else shape.type for shape in masks}
        ),
        "square": iou(squares[0].points, drawn("blue")),
        "polygons": [len(shape.points) for shape in polygons],
        "strict": len(strict),
        "click": iou(first.points, drawn("blue")),
        "refined": iou(refined.points, drawn("blue")),
        "same": list(refined.points) == list(again.points),
        "seconds": seconds[:2],
    }


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    print(json.dumps(main(*sys.argv[1:])))
