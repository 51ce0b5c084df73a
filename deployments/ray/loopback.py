"""Keeps replicas on loopback where their node is.

Serve opens a gRPC port in each replica on every interface, whatever address the node has (ray 2.60,
`ray/serve/_private/replica.py`, `_on_initialized`), after the replica's own constructor has run. On a node
whose address is loopback nobody else can be meant to call it.
"""

import ipaddress
from importlib import import_module
from typing import Any

EVERY_INTERFACE = "[::]"


def stay_on_loopback() -> None:
    """Call in a deployment's constructor: on a loopback node, this replica's gRPC port is bound to
    loopback."""
    import ray

    node: str = ray.util.get_node_ip_address()
    if not ipaddress.ip_address(node).is_loopback:
        return
    replica: Any = import_module("ray.serve._private.replica")
    bind = replica.add_port_to_grpc_server

    def bind_on_node(server: Any, address: str) -> int:
        host, _, port = address.rpartition(":")
        return int(bind(server, f"{node}:{port}" if host == EVERY_INTERFACE else address))

    replica.add_port_to_grpc_server = bind_on_node
