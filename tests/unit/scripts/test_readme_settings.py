"""The README's table of settings is generated, and is the present one."""

import pytest

from scripts.readme_settings import README, table, with_table
from serve_app.settings import Settings, environment_name


def test_readme_has_the_present_table() -> None:
    text = README.read_text(encoding="utf-8")
    assert with_table(text) == text, "run python -m scripts.readme_settings"


def test_every_setting_is_in_the_table_once_with_a_meaning() -> None:
    rows = [line for line in table().splitlines() if line.startswith("| `SAM3_")]
    assert sorted(row.split("`")[1] for row in rows) == sorted(map(environment_name, Settings.model_fields))
    assert all(row.split(" | ")[2].strip(" |") for row in rows)


def test_settings_are_documented_nowhere_else_by_hand() -> None:
    """A variable that the README names outside the table exists."""
    known = set(map(environment_name, Settings.model_fields))
    words = README.read_text(encoding="utf-8").replace("`", " ").replace("=", " ").split()
    assert {word for word in words if word.startswith("SAM3_")} <= known


def test_a_text_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        with_table("# no markers")
