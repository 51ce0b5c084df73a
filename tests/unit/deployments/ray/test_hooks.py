"""Serve calls these methods by their names; the test fails where it calls them otherwise."""

import inspect
from pathlib import Path

import pytest
from ray import serve
from ray.serve._private import replica
from ray.serve._private.constants import RECORD_REPLICA_METADATA_METHOD
from ray.serve.context import ReplicaContext

from deployments.decoder.deployment import PromptDecoder
from deployments.encoder.deployment import ImageEncoder
from deployments.ray import hooks
from serve_app.ingress import Ingress


def test_serve_finds_what_decoders_tell_the_routers() -> None:
    assert hasattr(PromptDecoder, RECORD_REPLICA_METADATA_METHOD)
    assert "rank" in inspect.signature(ReplicaContext).parameters


@pytest.mark.parametrize("deployment", [PromptDecoder, ImageEncoder])
def test_serve_finds_what_the_autoscaling_is_told(deployment: type) -> None:
    name = hooks.ReportsLoad.record_autoscaling_stats.__name__
    assert f'getattr(\n            self._callable, "{name}"' in inspect.getsource(replica)
    assert callable(getattr(deployment, name))


def test_serve_finds_the_application() -> None:
    assert hasattr(Ingress, replica.SERVE_BUILD_ASGI_APP_METHOD)
    with pytest.raises(ValueError, match=replica.SERVE_BUILD_ASGI_APP_METHOD):
        serve.ingress()(type("WithoutApplication", (), {}))


def test_the_directory_of_logs_is_the_one_of_serves_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The folder is in the working directory without Ray."""
    monkeypatch.chdir(tmp_path)
    assert hooks.logs_directory() == tmp_path / "serve"
