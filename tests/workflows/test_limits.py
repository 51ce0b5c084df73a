"""Runs that would take too much: time, memory, steps, calls of the model, images."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
import requests
from PIL import Image

from deployments.protocol import DeadlineExceeded, Overloaded
from deployments.workflows.sandbox import Sandbox
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.scenes import as_json, encoded, scene
from tests.workflows.conftest import ServerFactory
from tests.workflows.specifications import sam3, workflow

IMAGE = as_json(encoded(scene()))
FINDS = workflow(sam3(), found="$steps.sam.predictions")


def matching(pattern: str, text: str) -> dict[str, Any]:
    """A workflow that matches a regular expression: a handful of bytes that keeps a core busy for ever."""
    step = {
        "type": "roboflow_core/string_template@v1",
        "name": "match",
        "template": "{text}",
        "data": {"text": text},
        "data_operations": {"text": [{"type": "StringMatches", "regex": pattern}]},
    }
    return {**workflow(step, matched="$steps.match.output"), "inputs": []}


RUNAWAY = matching("(a+)+$", "a" * 64 + "!")
QUICK = matching("a", "a")


def count(server: Any) -> int:
    """Number of circles that a run finds: 2."""
    answer = server.run(FINDS, {"image": IMAGE})
    assert answer.status_code == 200, answer.text
    return len(answer.json()["outputs"][0]["found"]["predictions"])


def workers_of(sandbox: Sandbox) -> set[int]:
    return {child.pid for child in psutil.Process(sandbox.pid).children() if child.status() != "zombie"}


def test_a_runaway_run_is_cut_off_and_the_next_one_works(
    start_server: ServerFactory, sandbox: Sandbox
) -> None:
    with start_server(workflow_timeout_s=5.0, workflow_workers=1) as server:
        assert server.run(QUICK).json() == {"outputs": [{"matched": "True"}]}
        before = workers_of(sandbox)
        answer = server.run(RUNAWAY)
        assert answer.status_code == 504
        assert answer.json() == {"message": "the workflow took longer than 5 s and was stopped"}
        assert len(before - workers_of(sandbox)) == 1, "its process is gone"
        assert count(server) == 2


def test_a_run_ends_when_its_request_does(start_server: ServerFactory, sandbox: Sandbox) -> None:
    with start_server(request_timeout_s=6.0, workflow_workers=1) as server:
        assert server.run(RUNAWAY).status_code == 504
        assert count(server) == 2
        with pytest.raises(requests.Timeout):  # half of its time before the next one's begins
            requests.post(
                server.url + "/workflows/run", json={"specification": RUNAWAY, "inputs": {}}, timeout=3
            )
        assert count(server) == 2


def test_runs_that_wait_for_a_place_do_not_disturb_each_other(start_server: ServerFactory) -> None:
    with start_server(workflow_timeout_s=5.0, workflow_workers=2) as server, ThreadPoolExecutor(6) as pool:
        runaway = pool.submit(server.run, RUNAWAY)
        assert list(pool.map(lambda _: count(server), range(12))) == [2] * 12
        assert runaway.result().status_code == 504


def test_memory_is_limited(start_server: ServerFactory) -> None:
    resize = {
        "type": "roboflow_core/image_preprocessing@v1",
        "name": "large",
        "image": "$inputs.image",
        "task_type": "resize",
        "width": 60000,
        "height": 60000,
    }
    with start_server() as server:
        answer = server.run(workflow(resize, image="$steps.large.image"), {"image": IMAGE})
        assert answer.status_code == 500, answer.text
        assert "nsufficient memory" in answer.json()["message"]
        assert count(server) == 2


def test_a_worker_that_dies_says_so_and_is_replaced(start_server: ServerFactory, sandbox: Sandbox) -> None:
    with start_server(FakeSegmenter(delay_s=1.5), workflow_workers=1) as server:
        before = workers_of(sandbox)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(server.run(FINDS, {"image": IMAGE})))
        thread.start()
        while not server.segmenter.asked and thread.is_alive():
            time.sleep(0.02)
        (worker,) = workers_of(sandbox) - before
        psutil.Process(worker).kill()
        thread.join()
        assert answers[0].status_code == 500
        assert "process ended" in answers[0].json()["message"]
        assert count(server) == 2


def test_an_idle_worker_that_dies_is_not_noticed(start_server: ServerFactory, sandbox: Sandbox) -> None:
    with start_server(workflow_workers=1) as server:
        before = workers_of(sandbox)
        assert count(server) == 2
        (worker,) = workers_of(sandbox) - before
        psutil.Process(worker).kill()
        assert count(server) == 2


def test_steps_and_model_calls_are_counted(start_server: ServerFactory) -> None:
    slices = {
        "type": "roboflow_core/image_slicer@v1",
        "name": "slices",
        "image": "$inputs.image",
        "slice_width": 32,
        "slice_height": 32,
    }
    many = workflow(slices, sam3(images="$steps.slices.slices"), found="$steps.sam.predictions")
    with start_server(workflow_max_model_calls=5) as server:
        answer = server.run(many, {"image": IMAGE})
        assert answer.status_code == 400
        assert "5 times" in answer.json()["message"]
        assert len(server.segmenter.asked) == 5
        answer = server.run(workflow(*[sam3(name=f"s{number}") for number in range(65)]), {"image": IMAGE})
        assert answer.status_code == 400
        assert "65 steps" in answer.json()["message"]


def test_images_are_counted_and_measured(start_server: ServerFactory) -> None:
    with start_server(max_images=2, max_body_bytes="1MiB") as server:
        assert server.run(FINDS, {"image": [IMAGE] * 3}).status_code == 422
        assert server.run(FINDS, {"image": [IMAGE] * 2}).status_code == 200
        large = as_json(encoded(Image.new("L", (12000, 12000))))
        answer = server.run(FINDS, {"image": large})
        assert answer.status_code == 413, answer.text
        assert server.run(FINDS, {"image": IMAGE, "other": "x" * 2**20}).status_code == 413


@pytest.mark.parametrize(
    ("error", "status"), [(Overloaded(3.0), 503), (DeadlineExceeded(), 504), (RuntimeError("secret"), 500)]
)
def test_errors_of_the_model_are_answered_as_on_the_other_routes(
    start_server: ServerFactory, error: Exception, status: int
) -> None:
    with start_server(FakeSegmenter(error=error)) as server:
        answer = server.run(FINDS, {"image": IMAGE})
        assert answer.status_code == status
        assert answer.headers.get("Retry-After") == ("3" if status == 503 else None)
        assert "secret" not in answer.text


def test_concurrent_runs_do_not_mix(start_server: ServerFactory) -> None:
    blank = as_json(encoded(Image.new("RGB", (64, 48))))

    def run(number: int) -> int:
        names = [{"type": "WorkflowParameter", "name": "names"}]
        step = sam3(class_names="$inputs.names")
        specification = workflow(step, inputs=names, found="$steps.sam.predictions")
        image, wanted = (IMAGE, ["red circle"]) if number % 3 == 0 else (IMAGE, ["blue square"])
        answer = server.run(specification, {"image": blank if number % 3 == 2 else image, "names": wanted})
        return len(answer.json()["outputs"][0]["found"]["predictions"])

    with start_server(workflow_workers=3) as server, ThreadPoolExecutor(6) as pool:
        assert list(pool.map(run, range(60))) == [2, 1, 0] * 20
