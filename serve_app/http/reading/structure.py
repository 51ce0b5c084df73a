"""Bounds a JSON document's structure before it is parsed.

Parsing makes an object of every value, which takes up to 80 bytes for two of the text, and stops the whole process
meanwhile. An image in base64 is one value however large it is: base64 has no brackets, commas or quotes.
"""

import re

from serve_app.http.errors import TooLarge

MOST_VALUES = 300_000
"""Most values of one document: more than 256 prompts with 256 points each have."""
MOST_VALUES_OF_STRANGERS = 20_000
"""The same for a client that has shown no valid key."""
FEW_VALUES = 20_000
MOST_NAMES = 4096
"""Different names of fields in a document of more than FEW_VALUES: every new one costs as much as ten values."""
_STEP_BYTES = 1 << 20
_SLICE_BYTES = 1 << 16
_NAME = re.compile(rb'"([^"]*)"\s*:')


def check_structure(raw: bytes, max_values: int) -> None:
    """Raises TooLarge for a document of more than `max_values` values, counted by its commas and opening
    brackets, or of too many names."""
    values = 0
    for start in range(0, len(raw), _STEP_BYTES):  # in steps: each one keeps the interpreter's lock
        end = start + _STEP_BYTES
        values += sum(raw.count(mark, start, end) for mark in (b"{", b"[", b","))
        if values > max_values:
            hint = (
                "" if max_values >= MOST_VALUES else ": a client that sends its key as a header may send more"
            )
            raise TooLarge(
                f"the document has more than {max_values} values, counted by its commas and brackets{hint}"
            )
    if values > FEW_VALUES:
        _check_names(raw)


def _check_names(raw: bytes) -> None:
    names: set[bytes] = set()
    escaped = 0
    for start in range(0, len(raw), _SLICE_BYTES):
        end = start + _SLICE_BYTES
        names.update(_NAME.findall(raw, start, end))
        escaped += raw.count(b'\\"', start, end)  # such a quote may hide a name
        if len(names) + escaped > MOST_NAMES:
            raise TooLarge(f"the document has more than {MOST_NAMES} names of fields")
