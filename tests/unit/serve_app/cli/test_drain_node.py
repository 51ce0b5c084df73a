"""Names and calls of Ray and Serve that `sam3-serve drain` relies on. tests/drill/test_kubernetes.py drains a node."""

from typing import Any

import click
from ray.scripts.scripts import drain_node
from ray.serve._private.common import REPLICA_ID_FULL_ID_STR_PREFIX
from ray.serve._private.constants import SERVE_PROXY_NAME

from serve_app.cli.drain_node import PROXY, REASON, REPLICA


def test_serve_names_its_actors_so() -> None:
    assert (REPLICA, PROXY) == (REPLICA_ID_FULL_ID_STR_PREFIX, SERVE_PROXY_NAME)


def test_rays_command_takes_what_it_is_given() -> None:
    command: Any = drain_node
    options = {name: option for option in command.params for name in option.opts}
    assert {"--node-id", "--reason", "--reason-message", "--deadline-remaining-seconds"} <= options.keys()
    reasons = options["--reason"].type
    assert isinstance(reasons, click.Choice)
    assert REASON in reasons.choices
