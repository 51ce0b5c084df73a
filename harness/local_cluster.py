"""A Ray cluster of several nodes on this machine, each a `ray start --block` with a pod's environment.

Every node has ports, a folder and an HAProxy of its own, and all ask for one token.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import psutil

from harness.waiting import WAIT_S, wait_until
from serve_app.cli.addresses import free_ports
from serve_app.cli.haproxy import LOOPBACK, install
from serve_app.cli.janitor import janitor
from serve_app.cli.ray_environment import environment, new_token
from serve_app.cli.ray_head import RAY_DIR, new_run_dir
from serve_app.settings import Settings

ROOT = Path(__file__).parents[1]
POD_ENVIRONMENT = ROOT / "k8s" / "chart" / "files" / "environment.env"
MODEL_LABELS = {"sam3/encoder", "sam3/decoder"}
STOP_S = 60.0
PROBE_S = 2.0
"""Timeout of the operator's probes."""
STORE_BYTES = 200 * 2**20
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


@dataclass
class Node:
    """One `ray start`, and where its HAProxy answers."""

    process: psutil.Popen
    url: str
    agent_url: str
    """Address of Ray's agent of the node, which the operator's probes ask."""
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    output: Path

    def failing_probes(self) -> list[str]:
        """Names of the operator's probes of a worker's pod (alive, raylet, proxy) that would fail now. It has no
        token."""
        asked = {
            "alive": (f"{self.agent_url}/api/healthz", ""),
            "raylet": (f"{self.agent_url}/api/local_raylet_healthz", "success"),
            "proxy": (f"{self.url}/-/healthz", "success"),
        }
        return [name for name, (url, word) in asked.items() if not _answers(url, word)]

    def kill(self) -> None:
        """Kill all processes of the node at once, as a pod's container dies."""
        for each in [*self.process.children(recursive=True), self.process]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait(STOP_S)

    def start_again(self) -> None:
        """The same command in the same environment, as Kubernetes restarts a pod that keeps its name.

        A new container knows nothing of a cluster that ran before; here the folder would tell.
        """
        (self.output.parent / RAY_DIR / "ray_current_cluster").unlink(missing_ok=True)
        self.process = _started(self.command, self.environment, self.output)


class LocalCluster:
    """Nodes, and the dashboard through which the operator deploys."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.token = folder, new_token()
        self.gcs_port, self.dashboard_port = free_ports(2)
        self.nodes: list[Node] = []
        self.without_model: Path | None = None
        """A folder before all packages on nodes that hold no model, the head among them: it hides torch there."""
        self._head_environment: dict[str, str] = {}
        self._head_arguments: list[str] = []
        self._worker_environment: dict[str, str] = {}

    def keep_state_in(self, redis: str, password: str) -> None:
        """Have the head keep its state on a Redis server, as the operator arranges it. Call it before any node is
        started."""
        self._head_environment = {"RAY_REDIS_ADDRESS": redis, "RAY_external_storage_namespace": "drill"}
        self._head_arguments = [f"--redis-password={password}"]
        self._worker_environment = {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.gcs_port}"

    def start_head(self, num_cpus: int = 0) -> Node:
        """The first node: GCS, dashboard, Serve's controller."""
        arguments = [
            *("--head", f"--port={self.gcs_port}", f"--num-cpus={num_cpus}", "--num-gpus=0"),
            *("--include-dashboard=true", f"--dashboard-host={LOOPBACK}"),
            *(f"--dashboard-port={self.dashboard_port}", f"--temp-dir={self.folder / RAY_DIR}"),
            *self._head_arguments,
        ]
        return self._add(arguments, self._head_environment, model=False)

    def start_worker(self, labels: Mapping[str, str], num_cpus: int, num_gpus: int = 0) -> Node:
        """A node of a group. GPUs are declared, not looked for."""
        joined = ",".join(f"{key}={value}" for key, value in labels.items())
        arguments = [
            *(f"--address={self.address}", f"--num-cpus={num_cpus}", f"--num-gpus={num_gpus}"),
            *([f"--labels={joined}"] if joined else []),
        ]
        return self._add(arguments, self._worker_environment, bool(MODEL_LABELS & labels.keys()))

    def _add(self, arguments: Sequence[str], extra: Mapping[str, str], model: bool) -> Node:
        http_port, agent_port, metrics_port = free_ports(3)
        proxy_dir = self.folder / f"node-{len(self.nodes)}"
        hidden = [] if model or not self.without_model else [self.without_model]
        fixed, _ = environment(Settings(port=http_port), proxy_dir, self.token)
        install(Settings(port=http_port), proxy_dir)
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("SAM3_", "RAY_"))
        }
        environ = {
            **inherited,
            **pod_environment(),
            **fixed,
            **extra,
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",  # several nodes, on loopback
            "RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(http_port),
            "PYTHONPATH": os.pathsep.join(map(str, [*hidden, ROOT])),
            "RAY_ADDRESS": self.address,
        }
        command = [
            *(*RAY, "start", "--block", *arguments, f"--node-ip-address={LOOPBACK}"),
            *(f"--object-store-memory={STORE_BYTES}", f"--dashboard-agent-listen-port={agent_port}"),
            f"--metrics-export-port={metrics_port}",
        ]
        output = self.folder / f"node-{len(self.nodes)}.txt"
        node = Node(
            _started(command, environ, output),
            f"http://{LOOPBACK}:{http_port}",
            f"http://{LOOPBACK}:{agent_port}",
            command,
            environ,
            output,
        )
        self.nodes.append(node)
        self._wait_until_up()  # nodes of one machine that start at once take each other's files
        return node

    def api(self, method: str, path: str, document: Any = None) -> Any:
        """A call of the dashboard, with the token. Raises OSError."""
        request = Request(
            f"http://{LOOPBACK}:{self.dashboard_port}{path}",
            method=method,
            data=None if document is None else json.dumps(document).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=30) as response:
            text = response.read()
        return json.loads(text) if text else None

    def _wait_until_up(self) -> None:
        def up() -> bool:
            for node in self.nodes:
                if node.process.poll() is not None:
                    raise RuntimeError(f"a node ended: {node.output.read_text()}")
            return self.alive() == len(self.nodes)

        wait_until(up, problem=lambda: f"{self.alive()} of {len(self.nodes)} nodes")

    def gcs_answers(self) -> bool:
        """True if the head's GCS answers, to the request of the operator's probe of the head."""
        return _answers(f"http://{LOOPBACK}:{self.dashboard_port}/api/gcs_healthz", "success")

    def alive(self) -> int:
        """Number of living nodes, as the dashboard counts them."""
        try:
            found = self.api(
                "GET", "/api/v0/nodes?limit=100&filter_keys=state&filter_predicates=%3D&filter_values=ALIVE"
            )
        except (URLError, OSError, ValueError):
            return 0
        return len(found["data"]["result"]["result"])

    def deploy(self, config: Mapping[str, Any]) -> None:
        """Hand Serve a configuration, as the operator does: again where the dashboard did not answer in time.

        Raises HTTPError when the configuration is refused, TimeoutError.
        """
        said = ""

        def taken() -> bool:
            nonlocal said
            try:
                self.api("PUT", "/api/serve/applications/", config)
            except OSError as error:
                said = str(error)
                if isinstance(error, HTTPError) and error.code < 500:
                    raise
                return False
            return True

        wait_until(taken, problem=lambda: said)

    def application(self, name: str) -> dict[str, Any]:
        """Serve's report of an application; empty before Serve knows of it."""
        try:
            found = self.api("GET", "/api/serve/applications/")
        except (URLError, OSError, ValueError):
            return {}
        return dict(found["applications"].get(name, {}))

    def wait_until_running(self, name: str, seconds: float = WAIT_S) -> dict[str, Any]:
        """Wait until the application runs. Raises RuntimeError when it cannot be deployed, TimeoutError."""

        def running() -> bool:
            found = self.application(name)
            if found.get("status") == "DEPLOY_FAILED":
                raise RuntimeError(json.dumps(found, indent=1))
            return found.get("status") == "RUNNING"

        wait_until(running, seconds, lambda: json.dumps(self.application(name), indent=1))
        return self.application(name)


def _answers(url: str, word: str) -> bool:
    """True if a probe finds 200 and the word within its timeout."""
    try:
        with urlopen(url, timeout=PROBE_S) as response:
            return word in response.read().decode()
    except OSError:  # URLError, HTTPError and timeouts, too
        return False


def pod_environment() -> dict[str, str]:
    """The variables in the pods' ConfigMap."""
    lines = POD_ENVIRONMENT.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _started(command: Sequence[str], environ: Mapping[str, str], output: Path) -> psutil.Popen:
    with output.open("a") as file:
        return psutil.Popen(
            list(command), env=dict(environ), stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )


@contextmanager
def local_cluster() -> Iterator[LocalCluster]:
    """A cluster without nodes yet. Its processes end with the block, or with this process."""
    cluster = LocalCluster(new_run_dir(Settings()))
    with janitor(cluster.folder):
        try:
            yield cluster
        finally:
            for node in reversed(cluster.nodes):
                with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                    node.kill()
