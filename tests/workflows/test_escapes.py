"""Ways out of a workflow, each tried: code, files, networks, the environment, secrets, other workflows, other
people's images and definitions. The policy refuses them by name; the engine's switches and the worker's walls would
stop them without it."""

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.workflows.steps import ALLOWED
from serve_app.settings import Settings
from serve_app.workflows import workflow_config
from tests.support.scenes import as_json, encoded, scene
from tests.workflows.conftest import Server, ServerFactory
from tests.workflows.specifications import sam3, workflow

IMAGE = as_json(encoded(scene()))
ESCAPED = Path(tempfile.gettempdir()) / f"escaped-{os.getpid()}"
CODE = f"def run(self, image):\n    import os\n    os.system('touch {ESCAPED}')\n    return {{'found': 1}}"

DYNAMIC = {
    "type": "DynamicBlockDefinition",
    "manifest": {
        "type": "ManifestDescription",
        "block_type": "Escape",
        "inputs": {"image": {"type": "DynamicInputDefinition", "selector_types": ["input_image"]}},
        "outputs": {"found": {"type": "DynamicOutputDefinition", "kind": []}},
    },
    "code": {"type": "PythonCode", "run_function_code": CODE},
}

STEPS: dict[str, dict[str, Any]] = {
    "roboflow_core/local_file_sink@v1": {
        "content": "escaped",
        "target_directory": "/tmp",
        "file_type": "txt",
        "output_mode": "separate_files",
    },
    "roboflow_core/environment_secrets_store@v1": {"variables_storing_secrets": ["PATH", "HF_TOKEN"]},
    "roboflow_core/webhook_sink@v1": {"url": "http://169.254.169.254/latest/meta-data/", "method": "GET"},
    "roboflow_core/email_notification@v1": {"subject": "s", "message": "m", "receiver_email": "a@b.c"},
    "roboflow_core/s3_sink@v1": {"bucket": "b"},
    "roboflow_core/slack_notification@v1": {"channel": "c", "message": "m"},
    "roboflow_core/twilio_sms_notification@v1": {"receiver_number": "1"},
    "roboflow_core/onvif_sink@v1": {"camera_ip": "127.0.0.1"},
    "roboflow_core/roboflow_dataset_upload@v2": {"images": "$inputs.image"},
    "roboflow_core/model_monitoring_inference_aggregator@v1": {},
    "roboflow_core/inner_workflow@v1": {"workflow_definition": workflow(sam3())},
    "roboflow_core/cache_get@v1": {"image": "$inputs.image", "key": "k"},
    "roboflow_core/cache_set@v1": {"image": "$inputs.image", "key": "k", "value": "v"},
    "roboflow_core/roboflow_object_detection_model@v2": {
        "images": "$inputs.image",
        "model_id": "yolov8n-640",
    },
    "roboflow_core/open_ai@v4": {"images": "$inputs.image", "api_key": "x", "prompt": "p"},
    "roboflow_core/openai_compatible@v1": {"images": "$inputs.image", "base_url": "http://127.0.0.1"},
    "roboflow_core/clip@v1": {"data": "x"},
    "roboflow_core/segment_anything@v1": {"images": "$inputs.image"},
    "roboflow_core/segment_anything_2_video@v1": {"images": "$inputs.image"},
    "roboflow_core/nobody_knows@v9": {},
    "Escape": {"image": "$inputs.image"},
}


@pytest.mark.parametrize("kind", STEPS)
def test_steps_that_leave_the_sandbox_are_refused(server: Server, kind: str) -> None:
    specification = workflow({"type": kind, "name": "out", **STEPS[kind]}, found="$steps.out.found")
    for route, document in (
        ("/workflows/run", {"specification": specification, "inputs": {"image": IMAGE}}),
        ("/workflows/validate", specification),
        ("/workflows/describe_interface", {"specification": specification}),
    ):
        answer = server.post(route, document)
        assert answer.status_code == 400, answer.text
        assert "does not run on this server" in answer.json()["message"]
        assert "SAM 3 alone" in answer.json()["message"]
        assert answer.json()["blocks_errors"][0]["block_type"] == kind


def test_custom_python_is_refused(server: Server, tmp_path: Path) -> None:
    specification = workflow(sam3(), found="$steps.sam.predictions")
    specification["dynamic_blocks_definitions"] = [DYNAMIC]
    for route, document in (
        ("/workflows/run", {"specification": specification, "inputs": {"image": IMAGE}}),
        ("/workflows/validate", specification),
        ("/workflows/blocks/describe", {"dynamic_blocks_definitions": [DYNAMIC]}),
    ):
        answer = server.post(route, document)
        assert answer.status_code == 400
        assert "custom Python" in answer.json()["message"]
    assert not ESCAPED.exists()


@pytest.mark.parametrize("hidden_in", ["steps", "inputs", "outputs"])
def test_nothing_is_taken_from_places_that_are_not_steps(server: Server, hidden_in: str) -> None:
    specification = workflow(sam3(), found="$steps.sam.predictions")
    specification[hidden_in] = {"0": {"type": "roboflow_core/local_file_sink@v1"}}
    assert server.run(specification, {"image": IMAGE}).status_code == 400


@pytest.mark.parametrize(
    "image",
    [
        {"type": "file", "value": "/etc/passwd"},
        {"type": "numpy", "value": "gASVAAAA"},
        {"type": "numpy_object", "value": [[[1, 2, 3]]]},
        {"type": "pickle", "value": "gASVAAAA"},
        {"type": "attached", "value": 0},
        {"type": "url", "value": "http://169.254.169.254/latest/meta-data/"},
        {"type": "url", "value": "https://127.0.0.1/secret.png"},
        {"type": "url", "value": "https://localhost/secret.png"},
        {"type": "url", "value": "file:///etc/passwd"},
        "/etc/passwd",
        "file:///etc/passwd",
        "http://169.254.169.254/",
        "https://127.0.0.1/secret.png",
        {"type": "base64", "value": "/etc/passwd"},
        {"type": "base64", "value": ""},
        {"type": "base64", "value": "aGVsbG8="},
        {"type": "base64"},
    ],
    ids=str,
)
@pytest.mark.parametrize("declared", ["InferenceImage", "WorkflowImage", "WorkflowBatchInput"])
def test_images_that_are_not_in_the_request_are_refused(server: Server, image: Any, declared: str) -> None:
    specification = workflow(sam3(), found="$steps.sam.predictions")
    specification["inputs"] = [{"type": declared, "name": "image", "kind": ["image"]}]
    answer = server.run(specification, {"image": [image] if declared == "WorkflowBatchInput" else image})
    assert answer.status_code == 400, answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    "image", [5, True, {"value": "x"}, {"type": 5, "value": "x"}, {"type": "url", "value": 5}], ids=str
)
def test_images_that_are_not_images_are_422(server: Server, image: Any) -> None:
    answer = server.run(workflow(sam3(), found="$steps.sam.predictions"), {"image": image})
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("kind", ["image", "*", {"name": "image"}, "numpy_array", "bytes"], ids=str)
@pytest.mark.parametrize("value", ["/etc/passwd", "http://169.254.169.254/", pickle.dumps(np.zeros(3)).hex()])
def test_no_kind_of_input_reads_files_or_addresses(server: Server, kind: Any, value: str) -> None:
    specification = {
        "version": "1.0",
        "inputs": [{"type": "WorkflowBatchInput", "name": "data", "kind": [kind]}],
        "steps": [sam3(images="$inputs.data")],
        "outputs": [{"type": "JsonField", "name": "found", "selector": "$steps.sam.predictions"}],
    }
    answer = server.run(specification, {"data": [value]})
    assert answer.status_code in (400, 422, 500), answer.text
    assert "root:" not in answer.text


def test_errors_hold_no_stack_traces_and_no_paths(server: Server) -> None:
    crop = {
        "type": "roboflow_core/absolute_static_crop@v1",
        "name": "crop",
        "images": "$inputs.image",
        "x_center": "$inputs.x",
        "y_center": 1,
        "width": 1,
        "height": 1,
    }
    specification = workflow(
        crop, inputs=[{"type": "WorkflowParameter", "name": "x"}], found="$steps.crop.crops"
    )
    answer = server.run(specification, {"image": IMAGE, "x": {"not": "a number"}})
    assert answer.status_code >= 400
    assert "Traceback" not in answer.text
    assert "site-packages" not in answer.text


def test_keys_reach_no_workflow(server: Server) -> None:
    specification = workflow(sam3(), found="$steps.sam.predictions")
    answer = server.run(specification, {"image": IMAGE}, api_key="rf_secret_key")
    assert answer.status_code == 200
    assert "rf_secret_key" not in answer.text


def test_more_steps_may_be_allowed(sandbox: Any) -> None:
    policy = workflow_config(Settings(workflow_steps="roboflow_core/barcode_detector@v1, my/block@v1")).policy
    assert policy.allows("roboflow_core/barcode_detector@v1")
    assert policy.allows("my/block@v1")
    assert not policy.allows("roboflow_core/webhook_sink@v1")


def test_every_allowed_step_is_one_of_the_package(start_server: ServerFactory) -> None:
    with start_server() as server:
        blocks = server.post("/workflows/blocks/describe", {}).json()["blocks"]
    described = {
        name
        for block in blocks
        for name in (block["manifest_type_identifier"], *block["manifest_type_identifier_aliases"])
    }
    assert described == ALLOWED
