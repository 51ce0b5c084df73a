"""The promise of the chart's example `ha`, tried on this machine: the head dies under load, its state lies in Valkey.

    python -m drills.head_loss [--lose head|server] [--down 20] [--before 10] [--json FILE]

Two worker nodes serve a click load through one node's HAProxy. Then the head is killed with all that runs on it (GCS,
dashboard, Serve's controller) and started again after a while, and again should it not come up, as Kubernetes does.
Meanwhile every answer is counted, and the probes with which the operator would restart workers or send them no
requests. Afterwards a decoder is killed, and a burst must bring one more: healing and scaling are back. Exits with 1
when a click or a probe failed.

With `--lose server` the Valkey is killed instead, and started again after the same while. Ray's GCS ends a few seconds
after its server, and no setting prevents that (2.60): so the head dies with it, and comes back with it.
"""

import argparse
import base64
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import requests
import yaml

from drills.phases import COLUMNS, Phase, Watch
from harness.figures import table
from harness.local_cluster import LocalCluster, Node, local_cluster
from harness.machine import ROOT, this_machine
from harness.redis import PASSWORD, StateServer, state_server
from harness.waiting import wait_until
from serve_app.replica_configs import APP_NAME

LABELS = {f"sam3/{role}": "true" for role in ("ingress", "encoder", "decoder", "pool")}
CLIENTS, THINK_S, BURST_CLIENTS = 4, 0.5, 12
"""A load that leaves cores to the head, which has its own on a cluster: where it gets none, it does not come up."""
SLACK_S = 180.0


def configuration(port: int, store: str) -> dict[str, Any]:
    """The Serve configuration of the chart's `demo`, with two decoders, and more for bursts.

    store: its server's address.
    """
    text = (ROOT / "k8s" / "rendered" / "demo.yaml").read_text(encoding="utf-8")
    (service,) = [each for each in yaml.safe_load_all(text) if each and each["kind"] == "RayService"]
    config: dict[str, Any] = yaml.safe_load(service["spec"]["serveConfigV2"])
    del config["applications"][0]["args"]["access_log"]  # the output of a container
    config["http_options"]["port"] = port
    arguments = config["applications"][0]["args"]
    arguments.update(
        store=store,
        store_password=PASSWORD,
        warm_bytes="100MiB",
        decoder_replicas=2,  # of one alone, all clicks would wait for the start of the next
        decoder_max_replicas=4,
        decoder_queue_target=2.0,
        scale_patience_s=0.5,
    )
    return config


def embed(url: str) -> str:
    """Have the drawn scene encoded; its id."""
    value = base64.b64encode((ROOT / "docs" / "images" / "shapes.jpg").read_bytes()).decode()
    document = {"image": {"type": "base64", "value": value}}
    answer = requests.post(f"{url}/sam3/embed_image", json=document, timeout=60)
    answer.raise_for_status()
    return str(answer.json()["image_id"])


def failing(nodes: list[Node]) -> list[str]:
    """Probes of nodes that fail now."""
    return [f"{name} of {node.url}" for node in nodes for name in node.failing_probes()]


def drill(
    cluster: LocalCluster,
    server: StateServer,
    lose_server: bool,
    down: float,
    before: float,
    say: Callable[[str], None],
) -> tuple[list[Phase], dict[str, float]]:
    """The phases, and how long each recovery took in seconds. lose_server: kill the
    server of state and store in place of the head."""
    head = cluster.start_head()
    workers = [cluster.start_worker(LABELS, num_cpus=4) for _ in range(2)]
    cluster.deploy(configuration(int(head.url.rpartition(":")[2]), server.address))
    cluster.wait_until_running(APP_NAME, SLACK_S)
    wait_until(lambda: not failing(workers), SLACK_S, lambda: str(failing(workers)))
    url = workers[0].url
    image_id = embed(url)
    say("the application runs; loading it")
    took: dict[str, float] = {}
    watch = Watch(url, image_id, CLIENTS, THINK_S, lambda: failing(workers))
    starts = 0

    def phase(name: str) -> None:
        watch.phase(name)
        say(name)

    with watch.running():
        time.sleep(before)
        if not lose_server:
            phase(f"head dead, {down:g} s")
            head.kill()
            time.sleep(down)
        else:
            phase(f"server dead, {down:g} s")
            server.kill()
            took["the server's death to that of the head"] = wait_until(
                lambda: head.process.poll() is not None, SLACK_S
            )
            time.sleep(down)
            server.start_again()
        phase("head coming back")
        start = time.monotonic()

        def since(name: str, condition: Callable[[], bool]) -> None:
            def there() -> bool:
                nonlocal starts
                if head.process.poll() is not None:
                    head.start_again()
                    starts += 1
                return condition()

            wait_until(there, SLACK_S, lambda: f"{name}\n{head.output.read_text()}")
            took[name] = time.monotonic() - start

        since("head's start to an answer of the GCS", cluster.gcs_answers)
        since("head's start to all nodes in it", lambda: cluster.alive() == 1 + len(workers))
        since("head's start to an answer of Serve's controller", lambda: running(cluster))
        took["(times that it was started)"] = starts
        phase("head is back")
        time.sleep(before)
        phase("a decoder killed")
        before_kill = decoders(cluster)
        kill_decoder(cluster)
        took["a decoder's death to another one that runs"] = wait_until(
            lambda: bool(decoders(cluster).keys() - before_kill.keys()), SLACK_S
        )
        many = len(decoders(cluster))
        phase("a burst")
        burst = Watch(url, image_id, BURST_CLIENTS)
        with burst.running():
            took[f"a burst's start to {many + 1} decoders that run"] = wait_until(
                lambda: len(decoders(cluster)) > many, SLACK_S
            )
    burst.phases[0].name = "its clients"
    return [*watch.phases, *burst.phases], took


def running(cluster: LocalCluster) -> bool:
    return bool(cluster.application(APP_NAME).get("status") == "RUNNING")


def decoders(cluster: LocalCluster) -> dict[str, int]:
    """The replicas that run: process ids by replica."""
    found = cluster.application(APP_NAME).get("deployments", {}).get("PromptDecoder", {}).get("replicas", [])
    return {each["replica_id"]: int(each["pid"]) for each in found if each["state"] == "RUNNING"}


def kill_decoder(cluster: LocalCluster) -> None:
    """Kill one decoder with SIGKILL, as the kernel does."""
    os.kill(next(iter(decoders(cluster).values())), signal.SIGKILL)


def report(phases: list[Phase], took: dict[str, float]) -> str:
    """Both as tables, and what failed."""
    problems = [
        f"{phase.name}: {problem}"
        for phase in phases
        for problem in sorted({*phase.failed, *phase.probes_failed})
    ]
    recovery = [[name, f"{seconds:.1f}"] for name, seconds in took.items()]
    return "\n\n".join(
        [
            this_machine().line(),
            table(COLUMNS, [phase.row() for phase in phases]),
            table(["from", "s"], recovery),
            *problems,
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--down", type=float, default=20.0, help="seconds that it is away")
    parser.add_argument(
        "--before", type=float, default=10.0, help="seconds of load before it dies, and after"
    )
    parser.add_argument("--json", type=Path, help="write the phases here too")
    parser.add_argument("--lose", choices=("head", "server"), default="head", help="what is killed")
    options = parser.parse_args()
    numbers = count(1)
    with local_cluster() as cluster, state_server(cluster.folder) as server:
        cluster.keep_state_in(server.address, PASSWORD)
        phases, took = drill(
            cluster,
            server,
            options.lose == "server",
            options.down,
            options.before,
            lambda text: print(f"{next(numbers)}. {text}", flush=True),
        )
    print(f"\n{report(phases, took)}")
    if options.json:
        options.json.write_text(json.dumps([asdict(phase) for phase in phases]))
    return 1 if any(phase.failed or phase.probes_failed for phase in phases) else 0


if __name__ == "__main__":
    sys.exit(main())
