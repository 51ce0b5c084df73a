"""Ports for the agents of a Ray node, chosen before the node starts.

By itself an agent takes any port and writes it into a file, and the raylet ends unless the file is there within 15
seconds. That limit is written into Ray (ray-project/ray issue 65983), and an agent on a busy machine takes longer to
import what it needs. A raylet that knows the ports does not wait.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serve_app.cli.addresses import free_ports

AGENT_PORTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)
"""Arguments of Ray's `RayParams`. `ray start` has options for them, and `ray.init` for one of them only."""


@contextmanager
def chosen_agent_ports() -> Iterator[None]:
    """A `ray.init` in this block starts its node with free ports of loopback for its agents."""
    from ray._private import parameter

    module: Any = parameter
    original = module.RayParams
    ports = dict(zip(AGENT_PORTS, free_ports(len(AGENT_PORTS)), strict=True))
    module.RayParams = lambda **chosen: original(**{**chosen, **ports})
    try:
        yield
    finally:
        module.RayParams = original
