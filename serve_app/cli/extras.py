"""Commands that need an extra of the package."""

import sys

import click


def not_installed(extra: str, error: ImportError) -> click.ClickException:
    """The error that names a missing module, and the ways to install the extra that brings it. They name this process's
    Python: the one on the path may be another."""
    return click.ClickException(
        f"{error.name} is missing: this needs the extra `{extra}`. In a clone of the repository with its .venv: "
        f"scripts/setup {extra}. Elsewhere: {sys.executable} -m pip install 'sam3-serve[{extra}]'"
    )
