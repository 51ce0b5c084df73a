"""Ports for the agents of a Ray node, chosen before the node starts.

By itself an agent takes any port and writes it into a file, and the raylet ends unless the file is there within 15
seconds. That limit is written into Ray (ray-project/ray issue 65983), and on a busy machine an agent takes longer to
import what it needs. Here the files are there before the raylet, and the agents are told their ports.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

from serve_app.cli.addresses import free_ports

AGENT_PORTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)
"""Arguments of Ray's `start_raylet`, and the names of the files."""


@contextmanager
def chosen_agent_ports() -> Iterator[None]:
    """A `ray.init` in this block starts its node with free ports of loopback for its agents."""
    from ray import _raylet
    from ray._private import services

    raylet: Any = _raylet
    module: Any = services
    original = module.start_raylet

    def start_raylet(*args: Any, **named: Any) -> Any:
        ports = dict(zip(AGENT_PORTS, free_ports(len(AGENT_PORTS)), strict=True))
        asked = signature(original).bind(*args, **named).arguments
        for name, port in ports.items():
            raylet.persist_port(asked["session_dir"], asked["node_id"], name, port)
        return original(*args, **{**named, **ports})

    module.start_raylet = start_raylet
    try:
        yield
    finally:
        module.start_raylet = original
