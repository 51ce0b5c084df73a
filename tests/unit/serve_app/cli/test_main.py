"""The program's own options."""

from collections.abc import Iterator
from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner

from serve_app.cli.main import main


def test_the_version_is_the_packages() -> None:
    result = CliRunner().invoke(main, ["--version"], prog_name="sam3-serve")
    assert (result.exit_code, result.output) == (0, f"sam3-serve {version('sam3-serve')}\n")


def timed_options(command: click.Command) -> Iterator[click.Option]:
    """The options of a command and of those below it whose names end in a unit of time."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from timed_options(below)
    for option in command.params:
        if isinstance(option, click.Option) and str(option.name).rpartition("_")[2] in ("minutes", "hours"):
            yield option


@pytest.mark.parametrize("option", list(timed_options(main)), ids=lambda option: option.name)
def test_the_help_of_an_option_has_the_unit_of_its_name(option: click.Option) -> None:
    assert str(option.name).rpartition("_")[2].title() in str(option.help)
