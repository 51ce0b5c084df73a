"""docs/compatibility.md names tests that exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
FOLDERS = {
    "": ROOT / "tests/contract",
    "unit:": ROOT / "tests/unit/serve_app/http",
    "deployments:": ROOT / "tests/unit/deployments",
    "system:": ROOT / "tests/unit/serve_app/http/system",
    "engine:": ROOT / "tests/unit/sam3_engine",
    "integration:": ROOT / "tests/integration",
    "drill:": ROOT / "tests/drill",
    "workflows:": ROOT / "tests/workflows",
}


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_named_test_exists() -> None:
    named = re.findall(r"`((?:\w+:)?)(test_\w+\.py)::(test_\w+)`", DOCUMENT)
    assert named
    assert [
        (file, name)
        for folder, file, name in named
        if not any(name in functions(path) for path in FOLDERS[folder].rglob(file))
    ] == []


def test_every_row_names_a_test() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and "---" not in line]
    headers = [row for row in rows if row.rstrip(" |").endswith("Test")]
    assert len(headers) == 10
    assert [row for row in rows if row not in headers and "::test_" not in row] == []
