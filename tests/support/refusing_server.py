"""`sam3-serve` with a rule of HAProxy that finds nothing: `python -m tests.support.refusing_server up`."""

import inspect
from types import ModuleType

from serve_app.cli import haproxy
from serve_app.cli.main import main

RULE = "no URL is logged"


def getsource(module: ModuleType) -> str:
    """The rules' text, where this one looks for a line that the installed Serve does not write."""
    text = inspect.getsource(module)
    changed = text.replace(r"^ *log \S+ local0 info\n", "^another line$")
    assert changed != text
    return changed


class Inspect(ModuleType):
    """The part of `inspect` that `haproxy` uses."""

    getsource = staticmethod(getsource)


if __name__ == "__main__":
    vars(haproxy)["inspect"] = Inspect("inspect")
    main()
