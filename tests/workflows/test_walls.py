"""The policy out of the way: an operator has allowed steps that leave the sandbox, and they do not get out of it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deployments.workflows.runs import Runs
from deployments.workflows.sandbox import Sandbox
from deployments.workflows.workers import Workers
from serve_app.http.app import create_app
from serve_app.settings import Settings
from serve_app.workflows import workflow_config
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.http_server import serving
from tests.support.scenes import as_json, encoded, scene
from tests.workflows.conftest import Server
from tests.workflows.specifications import workflow

IMAGE = as_json(encoded(scene()))
ALLOWED = (
    "roboflow_core/local_file_sink@v1",
    "roboflow_core/environment_secrets_store@v1",
    "roboflow_core/webhook_sink@v1",
    "roboflow_core/roboflow_object_detection_model@v2",
    "roboflow_core/clip@v1",
    "roboflow_core/inner_workflow@v1",
)


@pytest.fixture(scope="module")
def open_server() -> Iterator[Server]:
    """A server whose operator allows too much."""
    pytest.importorskip("roboflow_workflows", reason="the extra `workflows` is not installed")
    settings = Settings(workflows=True, workflow_steps=ALLOWED)
    config = workflow_config(settings)
    segmenter = FakeSegmenter()
    with ExitStack() as stack:
        sandbox = Sandbox(config.sandbox())
        stack.callback(sandbox.close)
        runs = Runs(segmenter, Workers(sandbox, 1, 16), config.limits)
        yield Server(stack.enter_context(serving(create_app(segmenter, settings, workflows=runs))), segmenter)


def test_files_are_not_written(open_server: Server, tmp_path: Path) -> None:
    sink = {
        "type": "roboflow_core/local_file_sink@v1",
        "name": "out",
        "content": "escaped",
        "target_directory": str(tmp_path),
        "file_type": "txt",
        "output_mode": "separate_files",
        "max_entries_per_file": 1,
    }
    answer = open_server.run(workflow(sink, status="$steps.out.error_status"), {"image": IMAGE})
    assert answer.status_code >= 400 or answer.json()["outputs"][0]["status"] is True
    assert list(tmp_path.iterdir()) == []


def test_the_environment_holds_no_secrets(open_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store = {
        "type": "roboflow_core/environment_secrets_store@v1",
        "name": "out",
        "variables_storing_secrets": ["PATH", "HOME", "PYTHONPATH"],
    }
    answer = open_server.run(workflow(store, found="$steps.out.path"), {"image": IMAGE})
    assert answer.status_code >= 400 or not answer.json()["outputs"][0]["found"]
    assert "site-packages" not in answer.text


def test_nothing_is_sent(open_server: Server) -> None:
    # To this very server, which would answer.
    sink: dict[str, Any] = {
        "type": "roboflow_core/webhook_sink@v1",
        "name": "out",
        "url": f"{open_server.url}/sam3/embed_image",
        "method": "POST",
        "fire_and_forget": False,
        "disable_sink": False,
        "cooldown_seconds": 0,
    }
    answer = open_server.run(workflow(sink, status="$steps.out.error_status", said="$steps.out.message"))
    assert answer.status_code >= 400 or answer.json()["outputs"][0]["status"] or "disabled" in answer.text
    assert open_server.segmenter.asked == []


@pytest.mark.parametrize(
    "step",
    [
        {
            "type": "roboflow_core/roboflow_object_detection_model@v2",
            "images": "$inputs.image",
            "model_id": "yolov8n-640",
        },
        {"type": "roboflow_core/clip@v1", "data": "$inputs.image"},
    ],
    ids=lambda step: step["type"],
)
def test_other_models_are_not_there(open_server: Server, step: dict[str, Any]) -> None:
    output = "predictions" if "object" in step["type"] else "embedding"
    specification = workflow({**step, "name": "out"}, found=f"$steps.out.{output}")
    answer = open_server.run(specification, {"image": IMAGE})
    assert answer.status_code in (400, 404), answer.text
    assert "this server" in json.dumps(answer.json())


def test_workflows_in_workflows_do_not_run(open_server: Server) -> None:
    inner = workflow()
    step = {"type": "roboflow_core/inner_workflow@v1", "name": "out", "workflow_definition": inner}
    remote = {**step, "execution_mode": "remote", "workflow_workspace_id": "a", "workflow_id": "b"}
    for one in (step, remote):
        assert open_server.run(workflow(one), {"image": IMAGE}).status_code == 400
