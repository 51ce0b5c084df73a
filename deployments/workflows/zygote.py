"""The zygote: a process that has imported the engine and forks workers, each in milliseconds instead of seconds.

    python -m deployments.workflows.zygote FD

FD is one end of a SOCK_SEQPACKET pair. It is told what all workers have in common, answers `{"ready": true}`, and then
`{"fork": true}`, with a worker's end of its socket, by `{"pid": N}`, and `{"kill": N}` by `{"killed": N}`. It stays
single-threaded, so that forking is safe, and ends its workers when the other end closes.
"""

import gc
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

MESSAGE_BYTES = 64 * 1024


def main() -> None:
    """Serve the control socket until it closes."""
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
    warm_up(setup)
    gc.collect()
    gc.freeze()  # what is there now stays shared between the workers
    control.send(b'{"ready": true}')
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


def end(pid: int, workers: set[int]) -> None:
    """Kill a worker and wait for its end. Nobody else waits for it, so its number is still its own."""
    if pid in workers:
        workers.discard(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def warm_up(setup: Any) -> None:
    """Have the engine load its blocks: what it keeps is inherited by every worker."""
    from deployments.workflows import engine

    def nobody(header: Any, parts: Any) -> Any:
        raise AssertionError("no model is asked here")

    for question in ("validate", "describe_blocks"):
        document = {"version": "1.0", "inputs": [], "steps": [], "outputs": []}
        engine.answer(setup, {"question": question, "document": document}, [], nobody)


if __name__ == "__main__":
    main()
