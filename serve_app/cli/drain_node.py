"""`sam3-serve drain`: drains a Ray node before its pod stops.

The command announces to Ray that the node will end. Serve then starts replacements for this node's replicas on other
nodes, stops the replicas when their requests are answered, and stops the node's proxy last.
"""

import logging
import os
import subprocess
import sys
import time
from typing import Any

POLL_S = 0.5
REASON = "DRAIN_NODE_REASON_PREEMPTION"
REPLICA, PROXY = "SERVE_REPLICA::", "SERVE_PROXY_ACTOR"
"""Prefixes of the names of Serve's actors on a node. Serve's controller runs on the head only."""


class DrainRefused(RuntimeError):
    """Ray did not accept the request to drain the node."""


def drain(node_id: str | None, seconds: float) -> bool:
    """Drain the node and wait until no actor of Serve runs there; False when one still runs after `seconds`.

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
    """Names of Serve's live actors on a node: replicas, and the proxy."""
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
    reason = ["--reason", REASON, "--reason-message", "its pod is being stopped"]
    deadline = ["--deadline-remaining-seconds", str(int(seconds))]
    done = subprocess.run([*command, *reason, *deadline], capture_output=True, text=True, env=os.environ)
    if done.returncode:
        raise DrainRefused(done.stderr.strip() or done.stdout.strip())
