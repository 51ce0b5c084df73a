"""Names that every format of labels can hold: one line, valid UTF-8, and characters that XML allows.

`str.isprintable` is narrower: it refuses the narrow space in the names of macOS's screenshots, and the joiners of emoji
and of Persian and Hindi words.
"""

import re

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def fits(text: str) -> bool:
    """Whether a name has no control character, line break, or byte that is no UTF-8."""
    return _UNFIT.search(text) is None


def escaped(text: str) -> str:
    """The text with such characters as escapes, so that a terminal or a file can show it."""
    return _UNFIT.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
