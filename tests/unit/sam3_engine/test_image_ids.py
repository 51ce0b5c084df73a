"""The grammar of image ids."""

import pytest

from sam3_engine.image_ids import MAX_ID_CHARACTERS, image_id

LONGEST = "x" * MAX_ID_CHARACTERS


@pytest.mark.parametrize("name", ["a", "...", "a/b", "é ?#%0A", LONGEST])
def test_names_that_are_ids(name: str) -> None:
    assert image_id(name) == name


@pytest.mark.parametrize(
    "name", ["", LONGEST + "x", "a\nb", "a\n", "\x7f", "\x85", "\u2028", ".", "..", "\ud800", 5, None, b"a"]
)
def test_names_that_are_none(name: object) -> None:
    with pytest.raises(ValueError, match="an image_id"):
        image_id(name)
