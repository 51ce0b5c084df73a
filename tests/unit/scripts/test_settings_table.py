"""The table of settings is generated, and is the present one."""

import re
from pathlib import Path

import pytest

from scripts.settings_table import DOCUMENT, table, with_table
from serve_app.settings import Settings, environment_name

ROOT = Path(__file__).resolve().parents[3]
NOT_SETTINGS = {"SAM3_API_KEY", "SAM3_CONTRACT_URL"}
"""Variables of clients and tests."""


def test_the_document_has_the_present_table() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_table(text) == text, "run python -m scripts.settings_table"


def test_every_setting_is_in_the_table_once_with_a_meaning() -> None:
    rows = [line for line in table().splitlines() if line.startswith("| `SAM3_")]
    assert sorted(row.split("`")[1] for row in rows) == sorted(map(environment_name, Settings.model_fields))
    assert all(row.split(" | ")[2].strip(" |") for row in rows)


def test_settings_are_documented_nowhere_else_by_hand() -> None:
    """A variable that a document names outside the table exists."""
    known = set(map(environment_name, Settings.model_fields))
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        named = set(re.findall(r"\bSAM3_[A-Z_]*[A-Z]\b", document.read_text(encoding="utf-8")))
        assert named - NOT_SETTINGS <= known, document


def test_a_text_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        with_table("# no markers")
