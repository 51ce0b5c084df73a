"""The server inside this process's own Ray cluster, for programs that watch replicas, redeploy, or add nodes.

Everything else talks to a `sam3-serve up` as its users do: see harness/server.py.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from harness.waiting import wait_until
from serve_app.cli.addresses import free_ports, url_of
from serve_app.cli.haproxy import LOOPBACK
from serve_app.cli.progress import Progress
from serve_app.cli.stop_signal import StopSignal
from serve_app.settings import Settings

ROOT = Path(__file__).parents[1]
NODE_STORE_BYTES = 200 * 2**20


def settings_of(**given: Any) -> Settings:
    """Settings with untrained weights, and a port that is free, where nothing else is given."""
    return Settings(**{"model": "tiny-random", "port": free_ports(1)[0], **given})


@dataclass
class Cluster:
    """A running application, and hands on it."""

    settings: Settings
    logs: Path
    """Ray's, and the replicas'."""
    nodes: list[Any] = field(default_factory=list)
    """The nodes beside the first one."""

    @property
    def url(self) -> str:
        """The address at which the application answers."""
        return url_of(self.settings.host, self.settings.port)

    def replicas(self) -> dict[str, dict[str, int]]:
        """Number of replicas of each deployment by state: {"PromptDecoder": {"RUNNING": 2}}."""
        from ray import serve

        from serve_app.replica_configs import APP_NAME

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

        from serve_app.builder import build_app
        from serve_app.replica_configs import APP_NAME

        self.settings = settings_of(**{**self.settings.model_dump(exclude_unset=True), **changes})
        serve.run_many(
            [serve.RunTarget(build_app(self.settings), name=APP_NAME, route_prefix="/")],
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )
        time.sleep(1)  # before this the status is still that of the old version
        wait_until(lambda: self._deployed(APP_NAME))

    def _deployed(self, name: str) -> bool:
        """True once an application runs as it was last deployed. Raises DeploymentFailed."""
        from ray import serve

        from serve_app.cli.up import refuse_failed

        application = serve.status().applications[name]
        refuse_failed(application)
        return application.status.value == "RUNNING"

    def settled(self) -> bool:
        """True while every deployment has the replicas that it is to have, and nothing else."""
        from ray import serve

        from serve_app.replica_configs import APP_NAME

        application = serve.status().applications[APP_NAME]
        return all(
            info.status.value == "HEALTHY" and set(info.replica_states) <= {"RUNNING"}
            for info in application.deployments.values()
        )

    def add_node(self, cpus: int) -> None:
        """Another node on this machine, in the way of ray.cluster_utils.Cluster."""
        import ray
        from ray._private.node import Node
        from ray._private.parameter import RayParams

        known = sum(node["Alive"] for node in ray.nodes())
        parameters = RayParams(
            gcs_address=ray.get_runtime_context().gcs_address,
            node_ip_address=LOOPBACK,
            num_cpus=cpus,
            num_gpus=0,
            object_store_memory=NODE_STORE_BYTES,
            min_worker_port=0,
            max_worker_port=0,
            node_manager_port=0,
        )
        parameters.update_if_absent(include_log_monitor=False, log_to_stderr=False)
        self.nodes.append(Node(parameters, head=False, shutdown_at_exit=True, spawn_reaper=False))
        wait_until(lambda: sum(node["Alive"] for node in ray.nodes()) > known)

    def kill_node(self) -> None:
        """kill -9 of the raylet of the node that was added last; with it dies all that runs there."""
        import ray

        known = sum(node["Alive"] for node in ray.nodes())
        (raylet,) = self.nodes.pop().all_processes["raylet"]
        psutil.Process(raylet.process.pid).kill()
        wait_until(lambda: sum(node["Alive"] for node in ray.nodes()) < known)


@contextmanager
def cluster(settings: Settings, show: Progress = lambda _: None, extra_cpus: int = 0) -> Iterator[Cluster]:
    """Ray, Serve and the application, until the block is left. extra_cpus: on a second node.

    Raises RuntimeError in a process that has imported Ray: it keeps the environment of its import, without our keys.
    """
    if "ray" in sys.modules:
        raise RuntimeError("import Ray, and what imports it, in functions: its environment is set here")
    from serve_app.cli.janitor import janitor
    from serve_app.cli.ray_head import logs_in, new_run_dir, ray_head
    from serve_app.cli.store import store_of
    from serve_app.cli.up import deploy

    os.environ["PYTHONPATH"] = str(ROOT)  # the replicas' too
    run_dir = new_run_dir(settings)
    with janitor(run_dir), store_of(settings, run_dir) as settings, ray_head(settings, run_dir):
        running = Cluster(settings, logs_in(run_dir))
        try:
            if extra_cpus:
                show("starting another node")
                running.add_node(extra_cpus)
            deploy(settings, StopSignal(), show)
            wait_until(running.settled)
            yield running
        finally:
            while running.nodes:
                running.kill_node()


_last_said = ""


def said(text: str) -> None:
    """Progress, on stderr; nothing is said twice in a row."""
    global _last_said
    if text != _last_said:
        print(text, file=sys.stderr, flush=True)
    _last_said = text
