"""Changes that `sam3-serve up` makes to Ray's way of starting its only node.

**Ports of agents.** By itself an agent takes any port and writes it into a file, and the raylet ends unless the file is
there within 15 seconds. That limit is written into Ray (ray-project/ray issue 65983), and on a busy machine an agent
takes longer to import what it needs. Here the files are there before the raylet, and the agents are told their ports.

**Left out.** Ray's autoscaler has no machines to add, its API server no dashboard to serve, and its log monitor nobody
to send logs to. Each is a Python process that takes seconds to start, and `ray.init` waits for the second.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

from serve_app.cli.addresses import free_ports
from serve_app.cli.worker_template.running import setup_script

AGENT_PORTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)
"""Arguments of Ray's `start_raylet`, and the names of the files."""
LEFT_OUT = ("start_monitor", "start_api_server", "start_log_monitor")
"""Methods of Ray's `Node` that start processes without a use here."""


@contextmanager
def single_node() -> Iterator[None]:
    """A `ray.init` in this block starts its node with what this server needs, and with free ports of loopback for its
    agents."""
    from ray import _raylet
    from ray._private import node, services

    raylet: Any = _raylet
    changed: list[tuple[Any, str, Any]] = []
    original = services.start_raylet

    def start_raylet(*args: Any, **named: Any) -> Any:
        ports = dict(zip(AGENT_PORTS, free_ports(len(AGENT_PORTS)), strict=True))
        asked = signature(original).bind(*args, **named).arguments
        for name, port in ports.items():
            raylet.persist_port(asked["session_dir"], asked["node_id"], name, port)
        asked.update(ports, setup_worker_path=setup_script(asked["setup_worker_path"]))
        return original(**asked)

    def replace(owner: Any, name: str, by: Any) -> None:
        changed.append((owner, name, getattr(owner, name)))
        setattr(owner, name, by)

    replace(services, "start_raylet", start_raylet)
    for method in LEFT_OUT:
        replace(node.Node, method, lambda *_, **__: None)
    try:
        yield
    finally:
        for owner, name, before in changed:
            setattr(owner, name, before)
