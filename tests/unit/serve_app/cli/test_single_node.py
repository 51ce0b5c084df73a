from pathlib import Path
from typing import Any

import pytest
from ray import NodeID, _raylet
from ray._private import node, services
from ray._private.services import start_raylet

from serve_app.cli.addresses import QUIET_PORTS
from serve_app.cli.single_node import AGENT_PORTS, LEFT_OUT, single_node


def test_a_raylet_finds_its_agents_ports_in_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}

    def started(
        node_id: str,
        session_dir: str,
        setup_worker_path: str,
        num_cpus: int,
        metrics_export_port: int | None,
        metrics_agent_port: int | None = None,
        dashboard_agent_listen_port: int | None = None,
        runtime_env_agent_port: int | None = None,
    ) -> str:
        told.update({name: value for name, value in locals().items() if name.endswith("port")})
        assert (node_id, session_dir, setup_worker_path, num_cpus) == (
            identifier,
            str(tmp_path),
            "setup.py",
            2,
        )
        return "started"

    monkeypatch.setattr(services, "start_raylet", started)
    identifier = NodeID.from_random().hex()
    with single_node():
        asked: Any = services.start_raylet
        assert asked(identifier, str(tmp_path), "setup.py", metrics_export_port=None, num_cpus=2) == "started"
    assert {*told} == {*AGENT_PORTS}
    assert len({*told.values()} & {*QUIET_PORTS}) == len(AGENT_PORTS)
    assert {path.name: int(path.read_text()) for path in tmp_path.iterdir()} == {
        f"{name}_{identifier}": port for name, port in told.items()
    }
    assert services.start_raylet is started


def test_processes_without_a_use_are_left_out_in_the_block_only() -> None:
    before = [getattr(node.Node, name) for name in LEFT_OUT]
    with single_node():
        nobody: Any = object()
        assert [getattr(node.Node, name)(nobody) for name in LEFT_OUT] == [None] * len(LEFT_OUT)
    assert [getattr(node.Node, name) for name in LEFT_OUT] == before


def test_ray_starts_a_node_by_what_is_replaced() -> None:
    """It looks the function up when it starts a node, names what is replaced, and calls the files so."""
    code = node.Node.start_raylet.__code__
    assert {"services", "start_raylet"} <= {*code.co_names}
    assert {*AGENT_PORTS} <= {*code.co_names}
    assert {"session_dir", "node_id", *AGENT_PORTS} <= {*start_raylet.__code__.co_varnames}
    assert {*LEFT_OUT} <= {
        *node.Node.start_head_processes.__code__.co_names,
        *node.Node.start_ray_processes.__code__.co_names,
    }
    names = (name for name in dir(_raylet) if name.endswith("_PORT_NAME"))
    assert {*AGENT_PORTS} <= {getattr(_raylet, name) for name in names}
