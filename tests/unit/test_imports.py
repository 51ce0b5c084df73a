"""Imports go one way, and light processes stay light. import-linter reads the sources; this runs them."""

import subprocess
import sys

import pytest

TORCH = ("torch", "torchvision", "sam3", "open_clip", "timm")
HTTP = ("fastapi", "starlette", "uvicorn")


def imported_by(*modules: str) -> set[str]:
    """Top-level packages that a fresh interpreter holds after importing `modules`."""
    program = f"import {', '.join(modules)}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "modules",
    [
        ("serve_app.ingress", "serve_app.settings", "deployments.keys", "deployments.protocol"),
        ("deployments.pool.actor",),
        # Where the graph is built, and in each replica before its constructor runs.
        ("serve_app.builder",),
        ("sam3_engine.types", "sam3_engine.errors", "sam3_engine.images", "sam3_engine.embedding"),
    ],
)
def test_light_processes_never_import_torch(modules: tuple[str, ...]) -> None:
    """Each import costs memory and start-up time in every one of the many small processes."""
    assert imported_by(*modules).isdisjoint(TORCH)


def test_the_way_of_a_request_runs_without_ray_and_torch() -> None:
    loaded = imported_by("deployments.ingress.service", "serve_app.http.app")
    assert loaded.isdisjoint({"ray", *TORCH})


def test_engine_knows_neither_ray_nor_http() -> None:
    loaded = imported_by("sam3_engine.engine", "sam3_engine.sdk", "sam3_engine.draw")
    assert "torch" in loaded
    assert loaded.isdisjoint({"ray", *HTTP})


def test_the_command_line_never_imports_torch_before_it_must() -> None:
    modules = imported_by("serve_app.cli.main", "serve_app.cli.segment", "serve_app.cli.up")
    assert modules.isdisjoint(TORCH)


def test_help_is_quick_to_import() -> None:
    assert imported_by("serve_app.cli.main").isdisjoint({*TORCH, "ray"})
