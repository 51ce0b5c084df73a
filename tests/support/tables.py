"""Tables in documents, and the tests that they name."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows(document: str) -> list[list[str]]:
    """The cells of the rows of a document's only table, without its head."""
    lines = [
        line for line in (ROOT / document).read_text(encoding="utf-8").splitlines() if line.startswith("|")
    ]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def without_tests(cells: list[str]) -> list[str]:
    """The cells that name no test, or one that does not exist."""
    return [
        cell for cell in cells if not (named := TEST.findall(cell)) or not all(_exists(*one) for one in named)
    ]


def _exists(path: str, test: str) -> bool:
    if not (ROOT / path).exists():
        return False
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return test in {function.name for function in functions}
