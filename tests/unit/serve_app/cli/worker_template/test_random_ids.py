"""Forks of a process that has imported what workers need draw ids of their own."""

import subprocess
import sys

from tests.support.patience import PATIENCE_S

SCRIPT = """
from importlib import import_module
from serve_app.cli.worker_template import template
from serve_app.cli.worker_template.random_ids import class_ids_of_the_system, forks_draw_apart
with class_ids_of_the_system():
    for name in (*template.SERVE, *template.WITH_RAY):
        import_module(name)
print(forks_draw_apart())
import ray
ray.remote(type("Actor", (), {}))
print(forks_draw_apart())
"""


def test_forks_draw_apart_until_a_class_draws_its_id_outside_the_block() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.stdout == "True\nFalse\n", done.stderr
