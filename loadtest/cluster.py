"""The server inside this process's own Ray cluster, for programs that watch replicas, redeploy, or add nodes.

Everything else talks to a `sam3-serve up` as its users do: see loadtest/server.py.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from serve_app.cli.addresses import url_of
from serve_app.cli.progress import Progress
from serve_app.cli.stop_signal import StopSignal
from serve_app.settings import Settings

WAIT_S = 180.0


@dataclass
class Cluster:
    """A running application, and hands on it."""

    settings: Settings
    nodes: list[psutil.Popen] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it answers."""
        return url_of(self.settings.host, self.settings.port)

    def replicas(self) -> dict[str, dict[str, int]]:
        """How many replicas of each deployment are in which state: {"PromptDecoder": {"RUNNING": 2}}."""
        from ray import serve

        from serve_app.builder import APP_NAME

        application = serve.status().applications[APP_NAME]
        return {
            name: {str(state): count for state, count in info.replica_states.items()}
            for name, info in application.deployments.items()
        }

    def running(self, deployment: str) -> int:
        """Its replicas that answer."""
        return self.replicas()[deployment].get("RUNNING", 0)

    def processes(self, title: str) -> list[psutil.Process]:
        """Processes of the cluster whose command line holds `title`, as Ray names its workers."""
        found = []
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if any(title in word for word in process.cmdline()):
                    found.append(process)
        return found

    def deploy(self, **changes: Any) -> None:
        """Deploy again with changed settings, and wait until that is done."""
        from ray import serve

        from serve_app.builder import APP_NAME, build_app

        self.settings = self.settings.model_copy(update=changes)
        serve.run_many(
            [serve.RunTarget(build_app(self.settings), name=APP_NAME, route_prefix="/")],
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )
        time.sleep(1)  # before this the status is still that of the old version
        wait_until(lambda: serve.status().applications[APP_NAME].status.value == "RUNNING")

    def settled(self) -> bool:
        """Whether every deployment has the replicas that it is to have, and nothing else."""
        from ray import serve

        from serve_app.builder import APP_NAME

        application = serve.status().applications[APP_NAME]
        return all(
            info.status.value == "HEALTHY" and set(info.replica_states) <= {"RUNNING"}
            for info in application.deployments.values()
        )

    def add_node(self, cpus: int) -> psutil.Popen:
        """Another node on this machine; killing its process kills all that runs on it."""
        import ray

        address = ray.get_runtime_context().gcs_address
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}", "--block"]
        options = [
            f"--num-cpus={cpus}",
            "--node-ip-address=127.0.0.1",
            f"--object-store-memory={200 * 2**20}",
        ]
        known = len([node for node in ray.nodes() if node["Alive"]])
        node = psutil.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.nodes.append(node)
        wait_until(lambda: len([each for each in ray.nodes() if each["Alive"]]) > known)
        return node


@contextmanager
def cluster(settings: Settings, show: Progress = lambda _: None, extra_cpus: int = 0) -> Iterator[Cluster]:
    """Ray, Serve and the application, until the block is left. extra_cpus: on a second node."""
    from serve_app.cli.janitor import janitor
    from serve_app.cli.ray_head import new_run_dir, ray_head
    from serve_app.cli.up import deploy

    running = Cluster(settings)
    run_dir = new_run_dir(settings)
    with janitor(run_dir), ray_head(settings, run_dir):
        try:
            if extra_cpus:
                show("starting another node")
                running.add_node(extra_cpus)
            deploy(settings, StopSignal(), show)
            wait_until(running.settled)
            yield running
        finally:
            for node in running.nodes:
                end(node)


def end(process: psutil.Popen) -> None:
    """Kill a process and all its children."""
    with suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(family, timeout=10)


def wait_until(condition: Callable[[], bool], seconds: float = WAIT_S, poll_s: float = 0.1) -> float:
    """Wait for a condition; the seconds it took. Raises TimeoutError."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"still not so after {seconds:.0f} s")
        time.sleep(poll_s)
    return time.monotonic() - started
