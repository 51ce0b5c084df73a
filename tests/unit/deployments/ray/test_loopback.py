"""The check runs on a real gRPC server, bound as Serve's replica binds its own."""

import inspect
from importlib import import_module
from typing import Any

import psutil
import pytest

from deployments.ray.loopback import EVERY_INTERFACE, stay_on_loopback

replica: Any = import_module("ray.serve._private.replica")
grpc: Any = import_module("grpc")


async def address_of_a_server(monkeypatch: pytest.MonkeyPatch, node: str) -> str:
    """The address that a replica's gRPC server listens on, when `stay_on_loopback` has run on a node with this
    address."""
    monkeypatch.setattr(
        replica, "add_port_to_grpc_server", replica.add_port_to_grpc_server
    )  # given back afterwards
    monkeypatch.setattr("ray.util.get_node_ip_address", lambda: node)
    stay_on_loopback()
    server = grpc.aio.server()
    port = replica.add_port_to_grpc_server(server, f"{EVERY_INTERFACE}:0")
    await server.start()
    try:
        listening = psutil.Process().net_connections(kind="tcp")
        (found,) = {one.laddr.ip for one in listening if one.status == "LISTEN" and one.laddr.port == port}
    finally:
        await server.stop(None)
    return found.removeprefix("::ffff:")  # of IPv4 in a socket for both


async def test_on_a_loopback_node_a_replica_is_out_of_others_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await address_of_a_server(monkeypatch, "127.0.0.1") == "127.0.0.1"


async def test_on_other_nodes_it_is_where_serve_puts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await address_of_a_server(monkeypatch, "10.0.0.7") == "::"


def test_serve_binds_it_so() -> None:
    assert f'= add_port_to_grpc_server(self._server, "{EVERY_INTERFACE}:0")' in inspect.getsource(replica)
