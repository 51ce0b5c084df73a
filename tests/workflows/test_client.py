"""The answers that `InferenceHTTPClient.run_workflow` relies on."""

import asyncio
import base64
import io
from typing import Any

import numpy as np
import pytest
import requests
from inference_sdk.http.errors import HTTPCallErrorError
from PIL import Image

from deployments.protocol import ConceptRequest
from scripts.workflow_gallery import workflows
from tests.support.scenes import (
    CIRCLE,
    HEIGHT,
    SECOND_CIRCLE,
    WIDTH,
    as_json,
    box_iou,
    encoded,
    scene,
)
from tests.workflows.conftest import Server, ServerFactory
from tests.workflows.specifications import DOCUMENTED, interactive, sam3, visualization, workflow


def pixels(output: str) -> Any:
    """The picture of an output as RGB."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(output))).convert("RGB")).astype(int)


def boxes(predictions: Any) -> list[tuple[float, float, float, float]]:
    """The boxes of an output's predictions, as corners."""
    found = []
    for one in predictions["predictions"]:
        x, y, width, height = (one[name] for name in ("x", "y", "width", "height"))
        found.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    return found


def changed(picture: Any) -> Any:
    """The pixels of a picture that differ from the scene by more than JPEG changes them."""
    return np.abs(picture - np.asarray(scene()).astype(int)).max(axis=2) > 90


def test_the_documented_specification(server: Server) -> None:
    result = server.client.run_workflow(
        specification=DOCUMENTED, images={"image": np.asarray(scene())[:, :, ::-1]}, use_cache=True
    )
    drawn = changed(pixels(result[0]["output"]))
    ys, xs = np.nonzero(drawn)
    assert drawn.shape == (HEIGHT, WIDTH)
    # Outlines around both circles, and nothing at the square.
    assert xs.min() == pytest.approx(CIRCLE[0], abs=4)
    assert xs.max() == pytest.approx(SECOND_CIRCLE[2], abs=4)
    assert ys.max() == pytest.approx(SECOND_CIRCLE[3], abs=4)
    assert not drawn[30:110, 195:].any()


def test_the_documented_interactive_block(server: Server) -> None:
    (result,) = server.client.run_workflow(
        specification=interactive(), images={"image": scene().resize((640, 512))}
    )
    found = result["predictions"]["predictions"]
    classes = [one["class"] for one in found]
    assert classes[:2] == ["red circle", "red circle"], "one mask per box, named as the box"
    assert {one["class_id"] for one in found} == {0}
    for box, truth in zip(boxes(result["predictions"]), (CIRCLE, SECOND_CIRCLE), strict=False):
        assert box_iou(box, tuple(2 * side for side in truth)) > 0.9


@pytest.mark.parametrize(
    "step",
    [
        sam3(1, threshold=0.5),
        sam3(2, confidence=0.5, per_class_confidence=[0.2]),
        sam3(3, output_format="rle"),
        sam3(3, output_format="polygons"),
    ],
    ids=["v1", "v2", "v3 rle", "v3 polygons"],
)
def test_every_version_of_the_concept_block(server: Server, step: dict[str, Any]) -> None:
    specification = workflow(step, found="$steps.sam.predictions")
    (result,) = server.client.run_workflow(specification=specification, images={"image": scene()})
    assert result["found"]["image"] == {"width": WIDTH, "height": HEIGHT}
    for box, truth in zip(boxes(result["found"]), (CIRCLE, SECOND_CIRCLE), strict=True):
        assert box_iou(box, truth) > 0.9
    assert all(one["class"] == "red circle" for one in result["found"]["predictions"])
    held = "rle_mask" if step.get("output_format") == "rle" else "points"
    assert all(held in one for one in result["found"]["predictions"])


def test_classes_thresholds_and_suppression_reach_the_model(server: Server) -> None:
    step = sam3(
        3,
        class_names=["red circle", "blue square"],
        confidence=0.4,
        per_class_confidence=[0.6, 0.7],
        nms_iou_threshold=0.8,
        class_mapping={"blue square": "box"},
    )
    specification = workflow(step, found="$steps.sam.predictions")
    (result,) = server.client.run_workflow(specification=specification, images={"image": scene()})
    assert [one["class"] for one in result["found"]["predictions"]] == ["red circle", "red circle", "box"]
    asked = server.segmenter.asked[-1]
    assert isinstance(asked, ConceptRequest)
    assert [(prompt.text, prompt.score_threshold) for prompt in asked.prompts] == [
        ("red circle", 0.6),
        ("blue square", 0.7),
    ]
    assert asked.nms_iou_threshold == 0.8


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("given", [True, False], ids=["in-the-step", "as-an-input"])
def test_blank_class_names_are_left_out(server: Server, version: int, given: bool) -> None:
    """`class_names: "a, , b,"` names two classes."""
    names = "red circle, , blue square,"
    step = sam3(version, class_names=names if given else "$inputs.names")
    declared = [] if given else [{"type": "WorkflowParameter", "name": "names"}]
    specification = workflow(step, inputs=declared, found="$steps.sam.predictions")
    inputs = {"image": as_json(encoded(scene())), **({} if given else {"names": names})}
    answer = server.run(specification, inputs)
    assert answer.status_code == 200, answer.text
    classes = [one["class"].strip() for one in answer.json()["outputs"][0]["found"]["predictions"]]
    assert sorted(classes) == ["blue square", "red circle", "red circle"]


def test_class_names_without_a_name_are_refused(server: Server) -> None:
    specification = workflow(sam3(class_names=" , "), found="$steps.sam.predictions")
    assert server.run(specification, {"image": as_json(encoded(scene()))}).status_code == 400


def test_parameters_and_excluded_fields(server: Server) -> None:
    specification = workflow(
        sam3(class_names="$inputs.names"),
        inputs=[{"type": "WorkflowParameter", "name": "names"}],
        found="$steps.sam.predictions",
        again="$steps.sam.predictions",
    )
    (result,) = server.client.run_workflow(
        specification=specification,
        images={"image": scene()},
        parameters={"names": ["blue square"]},
        excluded_fields=["again"],
    )
    assert result.keys() == {"found"}
    assert [one["class"] for one in result["found"]["predictions"]] == ["blue square"]


def test_several_images(server: Server) -> None:
    specification = workflow(sam3(), found="$steps.sam.predictions")
    blank = Image.new("RGB", (50, 40))
    results = server.client.run_workflow(
        specification=specification, images={"image": [scene(), blank, scene()]}
    )
    assert [len(one["found"]["predictions"]) for one in results] == [2, 0, 2]


def test_inputs_that_are_batches(server: Server) -> None:
    specification = workflow(sam3(images="$inputs.pictures"), found="$steps.sam.predictions")
    specification["inputs"] = [{"type": "WorkflowBatchInput", "name": "pictures", "kind": ["image"]}]
    results = server.client.run_workflow(specification=specification, images={"pictures": [scene(), scene()]})
    assert [len(one["found"]["predictions"]) for one in results] == [2, 2]


def test_an_image_is_encoded_once_however_many_steps_see_it(start_server: ServerFactory) -> None:
    with start_server() as server:
        click = {
            "type": "roboflow_core/sam3_interactive@v1",
            "name": "click",
            "images": "$inputs.image",
            "points": [{"x": 70, "y": 80, "positive": True}],
        }
        concepts = [sam3(name=f"sam{number}") for number in range(4)]
        specification = workflow(*concepts, click, found="$steps.click.predictions")
        for _ in range(2):
            server.client.run_workflow(specification=specification, images={"image": scene()})
        assert len(server.segmenter.asked) == 10
        (tenant,) = set(server.segmenter.tenants)
        assert len(asyncio.run(server.segmenter.images(tenant))) == 1, (
            "every question was about the same image"
        )


def test_an_image_of_the_other_routes_is_known(start_server: ServerFactory) -> None:
    with start_server() as server:
        image = as_json(encoded(scene()))
        server.post("/sam3/embed_image", {"image": image}).raise_for_status()
        answer = server.run(workflow(sam3(), found="$steps.sam.predictions"), {"image": image})
        assert len(answer.json()["outputs"][0]["found"]["predictions"]) == 2
        assert server.segmenter.encoded == 1
        assert "cache;desc=hit" in answer.headers["Server-Timing"]


def test_steps_see_what_earlier_steps_made(server: Server) -> None:
    crop = {
        "type": "roboflow_core/dynamic_crop@v1",
        "name": "crop",
        "images": "$inputs.image",
        "predictions": "$steps.sam.predictions",
    }
    specification = workflow(
        sam3(), crop, sam3(name="inside", images="$steps.crop.crops"), found="$steps.inside.predictions"
    )
    (result,) = server.client.run_workflow(specification=specification, images={"image": scene()})
    # Each crop holds one circle; its masks are told in the pixels of the whole image.
    for found, truth in zip(result["found"], (CIRCLE, SECOND_CIRCLE), strict=True):
        assert box_iou(boxes(found)[0], truth) > 0.9


def test_painting_on_an_image_in_place_is_seen_by_the_model(server: Server) -> None:
    # The circles are painted over before the second step looks: the image is not taken for the file it was.
    paint = visualization(
        "mask_visualization@v1",
        "hidden",
        opacity=1.0,
        copy_image=False,
        color_palette="CUSTOM",
        custom_colors=["#000000"],
        palette_size=1,
    )
    after = sam3(name="after", images="$steps.hidden.image")
    specification = workflow(sam3(), paint, after, found="$steps.after.predictions")
    (result,) = server.client.run_workflow(specification=specification, images={"image": scene()})
    assert result["found"]["predictions"] == []


def test_filters_and_formatters(server: Server) -> None:
    y_max = {"type": "ExtractDetectionProperty", "property_name": "y_max"}
    condition = {
        "type": "BinaryStatement",
        "left_operand": {"type": "DynamicOperand", "operand_name": "_", "operations": [y_max]},
        "comparator": {"type": "(Number) <"},
        "right_operand": {"type": "StaticOperand", "value": 130},
    }
    upper = {"type": "StatementGroup", "statements": [condition]}
    specification = workflow(
        sam3(),
        {
            "type": "roboflow_core/detections_filter@v1",
            "name": "upper",
            "predictions": "$steps.sam.predictions",
            "operations": [{"type": "DetectionsFilter", "filter_operation": upper}],
        },
        {
            "type": "roboflow_core/property_definition@v1",
            "name": "count",
            "data": "$steps.upper.predictions",
            "operations": [{"type": "SequenceLength"}],
        },
        count="$steps.count.output",
    )
    (result,) = server.client.run_workflow(specification=specification, images={"image": scene()})
    assert result["count"] == 1


DRAWN = """polygon_visualization@v2 mask_visualization@v1 bounding_box_visualization@v1 label_visualization@v1
halo_visualization@v1 blur_visualization@v1 pixelate_visualization@v1 background_color_visualization@v1
color_visualization@v1 corner_visualization@v1 circle_visualization@v1 dot_visualization@v1
ellipse_visualization@v1 triangle_visualization@v1 crop_visualization@v1 heatmap_visualization@v1
rich_label_visualization@v1"""


@pytest.mark.parametrize("kind", DRAWN.split())
def test_visualizations(server: Server, kind: str) -> None:
    specification = workflow(sam3(), visualization(kind), output="$steps.drawn.image")
    (result,) = server.client.run_workflow(specification=specification, images={"image": scene()})
    assert np.abs(pixels(result["output"]) - np.asarray(scene())).max() > 60


def test_an_icon_is_drawn_although_files_cannot_be_written(server: Server) -> None:
    step = {
        "type": "roboflow_core/icon_visualization@v1",
        "name": "drawn",
        "image": "$inputs.image",
        "icon": "$inputs.icon",
        "mode": "static",
        "icon_width": 40,
        "icon_height": 40,
        "x_position": 200,
        "y_position": 40,
    }
    icon_input = {"type": "InferenceImage", "name": "icon"}
    specification = workflow(step, inputs=[icon_input], output="$steps.drawn.image")
    icon = Image.new("RGB", (20, 20), (0, 255, 0))
    (result,) = server.client.run_workflow(
        specification=specification, images={"image": scene(), "icon": icon}
    )
    assert pixels(result["output"])[60, 220] == pytest.approx([0, 255, 0], abs=30)


def test_the_older_route(server: Server) -> None:
    body = {"specification": workflow(sam3(), found="$steps.sam.predictions")}
    body["inputs"] = {"image": as_json(encoded(scene()))}
    answer = server.post("/infer/workflows", body)
    assert len(answer.json()["outputs"][0]["found"]["predictions"]) == 2


def test_an_error_of_the_engine_in_its_own_words(server: Server) -> None:
    with pytest.raises(HTTPCallErrorError) as raised:
        server.client.run_workflow(specification=workflow(sam3(images="$inputs.nothing")), images={})
    assert raised.value.status_code == 400
    assert "nothing" in str(raised.value.api_message)


def test_every_specification_of_the_document_runs(server: Server) -> None:
    documented = workflows()
    assert len(documented) >= 4
    for specification, picture in documented:
        (result,) = server.client.run_workflow(specification=specification, images={"image": scene()})
        assert picture is not None
        assert pixels(result["output"]).shape == (HEIGHT, WIDTH, 3)


def test_the_examples_of_the_api_document_work(server: Server) -> None:
    paths = requests.get(f"{server.url}/openapi.json", timeout=60).json()["paths"]
    for path in (
        "/workflows/run",
        "/workflows/validate",
        "/workflows/describe_interface",
        "/workflows/blocks/describe",
    ):
        example = paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert server.post(path, example).status_code == 200, path
