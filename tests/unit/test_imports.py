"""Imports go one way, and light processes stay light. import-linter reads the sources; this runs them.

One interpreter imports all modules of which one thing is claimed: none of them may bring in what is forbidden to all.
"""

import subprocess
import sys

TORCH = ("torch", "torchvision", "sam3", "open_clip", "timm")
HTTP = ("fastapi", "starlette", "uvicorn")


def imported_by(*modules: str, then: str = "") -> set[str]:
    """Top-level packages that a fresh interpreter holds after importing `modules`. then: is executed after that."""
    imports = "\n".join(f"import {module}" for module in (*modules, "sys"))
    program = f"{imports}\n{then}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_way_of_a_request_and_help_run_without_ray_and_torch() -> None:
    way = ("deployments.ingress.service", "serve_app.http.app", "deployments.keys", "deployments.protocol")
    images = ("sam3_engine.types", "sam3_engine.errors", "sam3_engine.images", "sam3_engine.embedding")
    loaded = imported_by("serve_app.cli.main", "serve_app.settings", *way, *images)
    assert loaded.isdisjoint({"ray", *TORCH})


def test_light_processes_never_import_torch() -> None:
    """Each import costs memory and start-up time in every one of the many small processes, and the image of nodes
    without a model has no torch: the head builds the application; HTTP nodes run ingresses, the pool, and the store's
    server."""
    # The builder runs where the graph is built, and in each replica before its constructor runs.
    processes = (
        "serve_app.builder",
        "serve_app.ingress",
        "deployments.pool.actor",
        "deployments.store.server",
    )
    commands = ("serve_app.cli.entry", "serve_app.cli.segment", "serve_app.cli.up", "serve_app.node_check")
    settings = 'model="tiny", device="cpu", allow_open=True, store="valkey://nowhere:1/0"'
    build = f"serve_app.builder.build_app(serve_app.settings.Settings({settings}))"
    loaded = imported_by(*processes, *commands, "serve_app.settings", then=build)
    assert loaded.isdisjoint(TORCH)


def test_engine_knows_neither_ray_nor_http() -> None:
    loaded = imported_by("sam3_engine.engine", "sam3_engine.sdk", "sam3_engine.draw")
    assert "torch" in loaded
    assert loaded.isdisjoint({"ray", *HTTP})
