import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from serve_app.cli.main import main
from serve_app.cli.screen import Commands

HUB = """
from serve_app.cli.main import main
main(["config"], standalone_mode=False)
from huggingface_hub.utils import logging
logging.get_logger("huggingface_hub.utils._http").warning("Retrying in 1s")
"""


@click.group(cls=Commands)
def commands() -> None:
    """Commands of which each does something that none should."""


@commands.command()
def fails() -> None:
    raise KeyError("no\nsuch")


@commands.command()
def warns() -> None:
    warnings.warn("an old function of a library", FutureWarning, stacklevel=1)
    logging.getLogger("a.library").warning("something of a library")
    click.echo("done")


@commands.command()
def interrupted() -> None:
    raise KeyboardInterrupt


def test_an_error_that_no_command_foresees_is_told_and_its_traceback_kept() -> None:
    done = CliRunner().invoke(commands, ["fails"])
    assert done.exit_code == 1
    first, second = done.output.splitlines()
    assert first.startswith("Error: this should not happen: KeyError: ")
    kept = Path(second.removeprefix("Please report it with "))
    assert "Traceback" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0
    kept.unlink()


def test_no_warning_of_a_library_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("a.library").propagate = True
    assert commands.main(["warns"], standalone_mode=False) is None
    assert capfd.readouterr() == ("done\n", "")


def test_an_interrupted_command_says_one_word() -> None:
    done = CliRunner().invoke(commands, ["interrupted"])
    assert done.exit_code == 1
    assert done.output.strip() == "Aborted!"


WRONG = [
    ("top", "--every", "nan"),
    ("top", "--every", "inf"),
    ("plan", "--rps", "inf"),
    ("plan", "--rps", "nan"),
    ("plan", "--rps", "1e308"),
    ("plan", "--rps", "1", "--click-share", "nan"),
    ("plan", "--rps", "1", "--new-share", "nan"),
    ("plan", "--rps", "1", "--prompts", "inf"),
    ("plan", "--rps", "1", "--keep-minutes", "inf"),
    ("drain", "--seconds", "nan"),
    ("drain", "--seconds", "inf"),
    ("keys", "add", "x", "--file", "keys.json", "--rate", "nan"),
    ("keys", "add", "x", "--file", "keys.json", "--rate", "inf"),
    ("keys", "rotate", "x", "--file", "keys.json", "--grace-hours", "nan"),
    ("keys", "rotate", "x", "--file", "keys.json", "--grace-hours", "1e12"),
    ("segment", "image.png", "--threshold", "nan"),
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_no_option_takes_a_number_that_is_none(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image.png").touch()
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2, done.output
    assert f"Invalid value for '{arguments[-2]}'" in done.output
    assert not (tmp_path / "keys.json").exists()


@pytest.mark.parametrize("text", ["[1]", '{"x": 3}', '{"x":', '{"x": {"a": 1}}', "\x80"])
def test_figures_of_no_known_form_are_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_bytes(text.encode("latin-1"))
    done = CliRunner().invoke(main, ["plan", "--rps", "1", "--figures", str(tmp_path / "figures.json")])
    assert done.exit_code == 2
    assert "figures.json has no figures: " in done.output


def test_a_file_in_place_of_the_key_files_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = CliRunner().invoke(main, ["keys", "add", "x", "--file", str(tmp_path / "file" / "keys.json")])
    assert done.exit_code == 1
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize(("chosen", "shown"), [({}, False), ({"HF_HUB_VERBOSITY": "info"}, True)])
def test_the_tries_of_the_hubs_client_are_not_shown_unless_asked_for(
    chosen: dict[str, str], shown: bool
) -> None:
    inherited = {name: value for name, value in os.environ.items() if name != "HF_HUB_VERBOSITY"}
    done = subprocess.run(
        [sys.executable, "-c", HUB], env={**inherited, **chosen}, capture_output=True, text=True, check=True
    )
    assert ("Retrying" in done.stderr) is shown
