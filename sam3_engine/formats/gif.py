"""Leaves out the parts of a GIF file that its first frame does not need.

Pillow joins the blocks of a comment one by one, in time that grows with the square of their number.
"""

import re

from sam3_engine.errors import ImageTooLarge

SIGNATURES = (b"GIF87a", b"GIF89a")
MOST_BLOCKS = 2**17
"""Blocks of up to 255 bytes in front of the first frame."""
MOST_CONTROLS = 64
"""Graphic controls in front of the first frame; one is usual."""

_EXTENSION, _CONTROL = b"!", b"\xf9"
_PART = re.compile(rb"[!,;]")
"""The beginning of an extension or a frame, or the end. Anything else is skipped by Pillow, byte by byte."""


def picture_only(content: bytes) -> bytes:
    """The file without comments and applications' data in front of its first frame. Another kind of file, or one
    without a frame, is returned as it is.

    Raises ImageTooLarge for more blocks in front of the first frame than any program writes.
    """
    if not content.startswith(SIGNATURES) or len(content) < 13:
        return content
    at = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    kept, blocks, controls = [content[:at]], 0, 0
    while part := _PART.search(content, at):
        at = part.start()
        if part[0] != _EXTENSION:
            break
        start, label, at = at, content[at + 1 : at + 2], at + 2
        while at < len(content) and (size := content[at]):
            at += 1 + size
            blocks += 1
            if blocks > MOST_BLOCKS:
                raise ImageTooLarge("the GIF image has too many blocks in front of its first frame")
        at += 1
        if label == _CONTROL:
            kept.append(content[start:at])
            controls += 1
            if controls > MOST_CONTROLS:
                raise ImageTooLarge("the GIF image has too many graphic controls in front of its first frame")
        blocks += 1
    return b"".join([*kept, content[at:]])
