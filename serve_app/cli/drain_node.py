"""`sam3-serve drain`: what a pod does before it stops.

Ray is told that the node goes. Serve then starts the replicas that this node holds on other nodes, ends these
when their requests are answered, and the node's proxy last.
"""

import logging
import os
import subprocess
import sys
import time
from typing import Any

POLL_S = 0.5
REPLICA, PROXY = "SERVE_REPLICA::", "SERVE_PROXY_ACTOR"
"""How the names of Serve's actors begin that a node may hold. Its controller stays on the head."""


class DrainRefused(RuntimeError):
    """Ray did not accept it."""


def drain(node_id: str | None, seconds: float) -> bool:
    """Wait until nothing of Serve runs on the node; False when something still does after `seconds`.

    node_id: hexadecimal; None is the node of this process. Raises DrainRefused.
    """
    import ray

    end = time.monotonic() + seconds
    ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    try:
        node = node_id or ray.get_runtime_context().get_node_id()
        _announce(node, seconds)
        while serving_on(node):
            if time.monotonic() >= end:
                return False
            time.sleep(POLL_S)
        return True
    finally:
        ray.shutdown()


def serving_on(node_id: str) -> list[str]:
    """Names of Serve's actors that are alive on a node: replicas, and the proxy."""
    from ray._private.state import actors

    found: dict[str, dict[str, Any]] = actors()
    return [
        str(actor["Name"])
        for actor in found.values()
        if actor["State"] == "ALIVE"
        and str(actor["Name"]).startswith((REPLICA, PROXY))
        and actor["Address"]["NodeID"] == node_id
    ]


def _announce(node_id: str, seconds: float) -> None:
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--node-id", node_id]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "its pod is being stopped"]
    deadline = ["--deadline-remaining-seconds", str(int(seconds))]
    done = subprocess.run([*command, *reason, *deadline], capture_output=True, text=True, env=os.environ)
    if done.returncode:
        raise DrainRefused(done.stderr.strip() or done.stdout.strip())
