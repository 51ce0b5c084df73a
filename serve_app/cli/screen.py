"""The screen of every command: it never shows a traceback or a library's warning."""

import logging
import os
import sys
import tempfile
import traceback
import warnings
from io import TextIOWrapper
from typing import Any

import click


class Commands(click.Group):
    """A group of commands. An error that no command foresees becomes one line, and its traceback a file."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command. Warnings of libraries are not shown, unless Python is told to show them (`-W`)."""
        # Without a network, the Hub's client would tell of each of its tries, in a format of its own.
        os.environ.setdefault("HF_HUB_VERBOSITY", "error")
        # As on stderr: a file's name may hold bytes that are no UTF-8.
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            root, silent = logging.getLogger(), logging.NullHandler()
            root.addHandler(silent)  # with no handler, Python prints the warnings of loggers
            try:
                return super().main(*args, **kwargs)
            finally:
                root.removeHandler(silent)

    def invoke(self, ctx: click.Context) -> Any:
        """Raises click.ClickException for every error of a command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            raise click.ClickException(unforeseen(error)) from error


def unforeseen(error: Exception) -> str:
    """The message for an error that should not happen. Its traceback is kept in a file of this user."""
    descriptor, path = tempfile.mkstemp(prefix="sam3-serve-error-", suffix=".txt")
    with os.fdopen(descriptor, "w") as file:
        traceback.print_exception(error, file=file)
    first = str(error).strip().splitlines()[:1]
    name = type(error).__name__
    return f"this should not happen: {': '.join([name, *first])}\nPlease report it with {path}"
