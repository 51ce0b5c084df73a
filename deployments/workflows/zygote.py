"""The zygote (Android's name for such a process): it has imported the engine, and forks workers in milliseconds.

    python -m deployments.workflows.zygote FD FOLDER

FD is one end of a SOCK_SEQPACKET pair; the engine writes its files to FOLDER. The first message holds the settings of
all workers and is answered by `{"ready": true, "missing": [...]}`, with the walls that this kernel lacks. Afterwards
`{"fork": true}`, which comes with the worker's end of a socket, is answered by `{"pid": N}`, and `{"kill": N}` by
`{"killed": N}`. The zygote has one thread, so that forking is safe. When the other end of FD closes, the zygote ends
its workers and deletes FOLDER.
"""

import gc
import io
import json
import os
import shutil
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from deployments.workflows.limits import confine

MESSAGE_BYTES = 64 * 1024
ENDING_S = 30.0
WARM_UP: dict[str, Any] = {
    "version": "1.0",
    "inputs": [{"type": "InferenceImage", "name": "image"}],
    "steps": [
        {"type": "roboflow_core/sam3@v1", "name": "sam", "images": "$inputs.image", "class_names": "x"},
        {
            "type": "roboflow_core/mask_visualization@v1",
            "name": "drawn",
            "image": "$inputs.image",
            "predictions": "$steps.sam.predictions",
        },
    ],
    "outputs": [{"type": "JsonField", "name": "image", "selector": "$steps.drawn.image"}],
}


def main() -> None:
    """Serve the control socket until it closes."""
    import cv2

    from deployments.workflows.configuration import configure

    control = socket.socket(fileno=int(sys.argv[1]))
    settings: dict[str, Any] = json.loads(control.recv(MESSAGE_BYTES))
    configure()
    from deployments.workflows import engine, worker
    from deployments.workflows.policy import Policy
    from sam3_engine.images import lift_pillow_limit

    lift_pillow_limit()
    setup = engine.EngineSetup(
        policy=Policy(settings["max_steps"], tuple(settings["more_steps"])),
        model_ids=settings["model_ids"],
        max_image_pixels=settings["max_image_pixels"],
    )
    cv2.setNumThreads(1)  # a fork does not inherit a pool's threads
    warm_up(setup)
    threads = threads_left(ENDING_S)
    if threads > 1:
        raise RuntimeError(f"the zygote has {threads} threads: it cannot be forked safely")
    gc.collect()
    gc.freeze()  # the memory of existing objects stays shared with the workers
    control.send(json.dumps({"ready": True, "missing": missing_walls(settings["memory_bytes"])}).encode())
    workers: set[int] = set()
    while True:
        data, descriptors, *_ = socket.recv_fds(control, MESSAGE_BYTES, 1)
        if not data:
            break
        message = json.loads(data)
        if "kill" in message:
            end(message["kill"], workers)
            control.send(json.dumps({"killed": message["kill"]}).encode())
            continue
        pid = os.fork()
        if pid == 0:
            control.close()
            try:
                worker.run(socket.socket(fileno=descriptors[0]), setup, settings["memory_bytes"])
            finally:
                os._exit(1)
        os.close(descriptors[0])
        workers.add(pid)
        control.send(json.dumps({"pid": pid}).encode())
    for pid in tuple(workers):
        end(pid, workers)
    shutil.rmtree(sys.argv[2], ignore_errors=True)  # a runner that was killed cannot delete it


def missing_walls(memory_bytes: int) -> list[str]:
    """The names of the walls that workers will lack, found by a process that tries."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, json.dumps(confine(memory_bytes)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        missing: list[str] = json.load(answer)
    os.waitpid(pid, 0)
    return missing


def threads_left(seconds: float) -> int:
    """Wait until this process has one thread, for at most `seconds`; returns the number of threads.

    A joined thread has left Python, but the kernel may still list it for a while on a busy machine.
    """
    deadline = time.monotonic() + seconds
    while (count := len(list(Path("/proc/self/task").iterdir()))) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    return count


def end(pid: int, workers: set[int]) -> None:
    """Kill a worker and wait for its end. Only this process reaps workers, so the pid cannot belong to another one."""
    if pid in workers:
        workers.discard(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def warm_up(setup: Any) -> None:
    """Run a workflow, so that every worker inherits the modules and caches that the engine's first run loads."""
    from deployments.workflows import engine
    from deployments.workflows.step_pool import StepPool

    triangle = [[2, 2], [12, 2], [2, 12]]
    masks = [[{"masks": [triangle], "confidence": 0.9}]]
    document = {"specification": WARM_UP, "inputs": {"image": None}}
    place = {"path": ["image"], "file": 0, "extras": {}}
    run = {"question": "run", "document": document, "places": [place]}
    blocks = {"question": "describe_blocks", "document": {}}
    with StepPool(engine.CONCURRENT_STEPS) as steps:  # its threads end with it, before anything is forked
        status, body = engine.answer(setup, run, [_picture()], lambda header, parts: masks, steps)
        engine.answer(setup, blocks, [], lambda header, parts: masks, steps)
    if status != 200:
        raise RuntimeError(f"the workflow engine does not work: {body[:1000]!r}")


def _picture() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()
