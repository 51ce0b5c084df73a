import inspect

from ray._private import parameter, worker
from ray._private.node import Node

from serve_app.cli.addresses import QUIET_PORTS
from serve_app.cli.agent_ports import AGENT_PORTS, chosen_agent_ports


def test_a_node_that_is_started_in_the_block_knows_its_agents_ports() -> None:
    original = parameter.RayParams
    with chosen_agent_ports():
        params = parameter.RayParams(num_cpus=2, metrics_export_port=None)
        ports = [getattr(params, name) for name in AGENT_PORTS]
    assert len({*ports}) == len(AGENT_PORTS)
    assert all(port in QUIET_PORTS for port in ports)
    assert params.num_cpus == 2
    assert parameter.RayParams is original


def test_ray_makes_its_parameters_where_we_replace_them() -> None:
    """`ray.init` looks the class up when it is called, and the node passes its ports on to the raylet."""
    looked_up = inspect.unwrap(worker.init).__code__.co_names
    assert looked_up[looked_up.index("RayParams") - 1] == "parameter"
    assert {*AGENT_PORTS} <= {*Node.start_raylet.__code__.co_names}
