"""The one grammar of image ids, for the SDK and every route."""

import re

from sam3_engine.prompt_values import utf8

MAX_ID_CHARACTERS = 512
CONTROL_CHARACTERS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
"""Control characters and line separators, inside the brackets of a regular expression of any dialect."""
ID_PATTERN = rf"^(?!\.{{1,2}}$)[^{CONTROL_CHARACTERS}]+$"
"""A name that no path can hold is no id: it could not be deleted."""


def image_id(value: object) -> str:
    """The id, where it is one. Raises ValueError."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID_CHARACTERS:
        raise ValueError(f"an image_id is a text of 1 to {MAX_ID_CHARACTERS} characters")
    if not re.fullmatch(ID_PATTERN, value):
        raise ValueError("an image_id holds no control character, and is not '.' or '..'")
    return utf8(value, "an image_id")
