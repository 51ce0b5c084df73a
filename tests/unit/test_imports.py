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
    "module",
    [
        "deployments.keys",
        "deployments.protocol",
        "deployments.ingress.service",
        "serve_app.http.app",
        "serve_app.ingress",
        "serve_app.settings",
    ],
)
def test_ingress_never_imports_torch(module: str) -> None:
    assert imported_by(module).isdisjoint(TORCH)


@pytest.mark.parametrize("module", ["deployments.ingress.service", "serve_app.http.app"])
def test_the_way_of_a_request_runs_without_ray(module: str) -> None:
    assert "ray" not in imported_by(module)


def test_engine_knows_neither_ray_nor_http() -> None:
    loaded = imported_by("sam3_engine.engine", "sam3_engine.sdk", "sam3_engine.draw")
    assert "torch" in loaded
    assert loaded.isdisjoint({"ray", *HTTP})


@pytest.mark.parametrize(
    "module", ["sam3_engine.types", "sam3_engine.errors", "sam3_engine.images", "sam3_engine.embedding"]
)
def test_torch_free_parts_of_the_engine(module: str) -> None:
    assert imported_by(module).isdisjoint(TORCH)


def test_help_is_quick_to_import() -> None:
    assert imported_by("serve_app.cli.main").isdisjoint({*TORCH, "ray"})
