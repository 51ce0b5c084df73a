from pathlib import Path
from typing import Any

import pytest
from ray import NodeID, _raylet
from ray._private import node, services
from ray._private.services import start_raylet

from serve_app.cli.addresses import QUIET_PORTS
from serve_app.cli.agent_ports import AGENT_PORTS, chosen_agent_ports


def test_a_raylet_finds_its_agents_ports_in_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}

    def started(node_id: str, session_dir: str, **named: Any) -> str:
        told.update(named)
        return "started"

    monkeypatch.setattr(services, "start_raylet", started)
    node_id = NodeID.from_random().hex()
    with chosen_agent_ports():
        asked: Any = services.start_raylet
        assert asked(node_id, str(tmp_path), metrics_export_port=None, num_cpus=2) == "started"
    assert told.pop("num_cpus") == 2
    assert {*told} == {*AGENT_PORTS}
    assert len({*told.values()} & {*QUIET_PORTS}) == len(AGENT_PORTS)
    assert {path.name: int(path.read_text()) for path in tmp_path.iterdir()} == {
        f"{name}_{node_id}": port for name, port in told.items()
    }
    assert services.start_raylet is started


def test_ray_starts_raylets_by_what_is_replaced() -> None:
    """It looks the function up when it starts a node, names what is replaced, and calls the files so."""
    code = node.Node.start_raylet.__code__
    assert {"services", "start_raylet"} <= {*code.co_names}
    assert {*AGENT_PORTS} <= {*code.co_names}
    assert {"session_dir", "node_id", *AGENT_PORTS} <= {*start_raylet.__code__.co_varnames}
    names = (name for name in dir(_raylet) if name.endswith("_PORT_NAME"))
    assert {*AGENT_PORTS} <= {getattr(_raylet, name) for name in names}
