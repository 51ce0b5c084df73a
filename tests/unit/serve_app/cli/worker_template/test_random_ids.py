"""Forks of a process that has imported what workers need draw ids of their own."""

import subprocess
import sys

import pytest

from tests.support.patience import PATIENCE_S

SCRIPT = """
from contextlib import nullcontext
from importlib import import_module
from serve_app.cli.worker_template import template
from serve_app.cli.worker_template.random_ids import class_ids_of_the_system, forks_draw_apart
with {block}():
    for name in (*template.SERVE, *template.WITH_RAY):
        import_module(name)
print(forks_draw_apart())
"""


@pytest.mark.parametrize(("block", "apart"), [("class_ids_of_the_system", True), ("nullcontext", False)])
def test_forks_draw_apart_where_nothing_was_drawn_before(block: str, apart: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT.format(block=block)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout == f"{apart}\n", done.stderr
