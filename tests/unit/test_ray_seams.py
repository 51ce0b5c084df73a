"""Private parts of Ray are used in two folders, and docs/ray.md has each module that uses them, with tests."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tables import ROOT, rows, without_tests

ROWS = rows("docs/ray.md")
ROOMS = ("deployments/ray", "serve_app/cli")
PRIVATE = re.compile(r"ray(\.\w+)*\.(_\w+|experimental)\b")
"""Modules that Ray does not promise."""
HOOKS = {
    "_by_reference",
    "_to_object_ref",
    "_node_ip_address",
    "_temp_dir",
    "record_replica_metadata",
    "record_autoscaling_stats",
    "__serve_build_asgi_app__",
    "broadcast",
    "MetricsExportPort",
    "NodeManagerAddress",
    "metrics_interval_s",
    "get_local_object_locations",
    "ray.io/node-id",
}
"""Names that Ray knows by heart, too."""


def sources() -> list[Path]:
    """The modules that are installed, and the scripts that write their configuration."""
    return [
        path
        for folder in ("sam3_engine", "deployments", "serve_app", "scripts")
        for path in (ROOT / folder).rglob("*.py")
    ]


def private_parts(source: str) -> Iterator[str]:
    """Names in a module's text that belong to Ray's private parts."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                named = [one.name for one in names]
            case ast.ImportFrom(module=str(module), names=names):
                named = [module, *(f"{module}.{one.name}" for one in names)]
            case ast.Constant(value=str(text)) if "\n" not in text:
                named = [text]
            case ast.Attribute(attr=name) | ast.keyword(arg=str(name)) | ast.FunctionDef(name=name):
                named = [name]
            case _:
                continue
        yield from (
            one for one in named if one in HOOKS or PRIVATE.match(one) or re.fullmatch(r"RAY_\w+", one)
        )


def users() -> dict[str, set[str]]:
    """The modules that use private parts of Ray, and which."""
    found = {str(path.relative_to(ROOT)): set(private_parts(path.read_text("utf-8"))) for path in sources()}
    return {path: parts for path, parts in found.items() if parts}


@pytest.mark.parametrize(
    "line",
    [
        "from ray.serve._private import constants",
        "from ray.serve import _private",
        "import ray._private.state",
        "from ray.experimental.locations import anything",
        "from ray.serve.experimental import consistent_hash_router",
        "import_module('ray.serve._private.replica')",
        "handle.options(_by_reference=True)",
        "options['_by_reference'] = True",
        "await response._to_object_ref()",
        "def record_autoscaling_stats(self): ...",
        "os.environ['RAY_SERVE_ANYTHING'] = '1'",
    ],
)
def test_private_parts_are_found(line: str) -> None:
    assert list(private_parts(line))


def test_public_parts_are_not() -> None:
    assert not list(private_parts("import ray\nfrom ray.serve.handle import DeploymentHandle\nray.get(x)"))


def test_private_parts_are_used_in_two_folders_alone() -> None:
    outside = {path: parts for path, parts in users().items() if not path.startswith(ROOMS)}
    assert outside == {}


def test_the_table_has_every_module_that_uses_them() -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", " ".join(row[1] for row in ROWS)))
    assert {name for name in named if not (ROOT / name).exists()} == set()
    assert users().keys() - named == set()
    room = {f"deployments/ray/{path.name}" for path in (ROOT / "deployments/ray").glob("*.py")}
    assert room - named == {f"deployments/ray/{name}.py" for name in ("__init__", "replicas", "ring")}


def test_every_row_names_tests_that_exist() -> None:
    assert without_tests([row[-1] for row in ROWS]) == []
