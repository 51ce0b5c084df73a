"""The program's own options."""

from importlib.metadata import version

from click.testing import CliRunner

from serve_app.cli.main import main


def test_the_version_is_the_packages() -> None:
    result = CliRunner().invoke(main, ["--version"], prog_name="sam3-serve")
    assert (result.exit_code, result.output) == (0, f"sam3-serve {version('sam3-serve')}\n")
