"""Processes of a server with one of each kind die under requests: no request fails, and no image is lost.

`test_chaos.py` does it with two of each kind, under steady load.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psutil
import pytest
import requests

from harness.server import ServerProcess
from harness.waiting import wait_until
from tests.support.clicks import alike, click
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, numbered
from tests.workflows.specifications import sam3, workflow

RECOVERY_S = 300.0


@pytest.fixture
def server(tiny_server: ServerProcess) -> ServerProcess:
    return tiny_server


@pytest.mark.parametrize("replica", ["PromptDecoder", "ImageEncoder"])
def test_a_replica_that_is_killed_fails_no_request(server: ServerProcess, replica: str) -> None:
    """Known images by their content, and new ones, from four clients, across the death."""
    for number in range(4):
        click(server, image=as_json(numbered(400 + number)))
    (victim,) = server.named(f"ServeReplica:sam3:{replica}")
    end = time.monotonic() + RECOVERY_S

    def client(which: int) -> int:
        answered = 0
        while time.monotonic() < end and (answered < 10 or not replaced()):
            number = 400 + which if answered % 2 else 500 + 1000 * which + answered
            click(server, image=as_json(numbered(number)))
            answered += 1
        return answered

    def replaced() -> bool:
        return any(process.pid != victim.pid for process in server.named(f"ServeReplica:sam3:{replica}"))

    with ThreadPoolExecutor(4) as threads:
        clients = [threads.submit(client, which) for which in range(4)]
        time.sleep(0.5)
        victim.kill()
        assert all(one.result() >= 10 for one in clients)
    assert replaced()


def test_the_pools_shards_die_one_after_another_and_no_id_is_lost(server: ServerProcess) -> None:
    """Requests with nothing but an id, from four clients, while each shard is killed in turn."""
    ids = [f"kept/{number}" for number in range(8)]
    before = {
        image_id: click(server, image=as_json(numbered(600 + number)), image_id=image_id)["predictions"]
        for number, image_id in enumerate(ids)
    }
    done = threading.Event()

    def client(which: int) -> int:
        answered = 0
        while not done.is_set() or answered < len(ids):
            image_id = ids[(which + answered) % len(ids)]
            assert alike(click(server, image_id=image_id)["predictions"], before[image_id])
            answered += 1
        return answered

    with ThreadPoolExecutor(4) as threads:
        clients = [threads.submit(client, which) for which in range(4)]
        try:
            for shard in range(2):
                killed = kill_shard(server, shard)
                wait_until(partial(restarted, server, killed))
                for image_id in ids:  # the other shard is asked for this one's images: both hold them again
                    click(server, image_id=image_id)
        finally:
            done.set()
        assert all(one.result() >= len(ids) for one in clients)


def kill_shard(server: ServerProcess, which: int) -> set[int]:
    """Kill one of the pool's processes; the process ids before that."""
    shards = sorted(server.named("PoolShard"), key=lambda process: process.pid)
    assert len(shards) == 2
    shards[which].kill()
    return {process.pid for process in shards}


def restarted(server: ServerProcess, before: set[int]) -> bool:
    now = {process.pid for process in server.named("PoolShard")}
    return len(now) == 2 and now != before


def test_a_runner_that_is_killed_fails_no_run(server: ServerProcess) -> None:
    specification = workflow(sam3(), found="$steps.sam.predictions")
    body = {"specification": specification, "inputs": {"image": as_json(numbered(0))}}

    def run() -> int:
        return requests.post(f"{server.url}/workflows/run", json=body, timeout=PATIENCE_S).status_code

    zygotes = [
        one for one in server.descendants() if "deployments.workflows.zygote" in " ".join(command_of(one))
    ]
    runners = {
        parent for one in zygotes if (parent := one.parent()) and "zygote" not in " ".join(command_of(parent))
    }
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(run) for _ in range(12)]
        for runner in runners:
            runner.kill()
        answers += [pool.submit(run) for _ in range(4)]
        assert {answer.result() for answer in answers} == {200}
    _, alive = psutil.wait_procs(zygotes, timeout=PATIENCE_S)
    assert alive == [], "the engine's processes end with their runner"


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
