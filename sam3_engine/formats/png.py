"""Leaves out the parts of a PNG file that its picture does not need.

Pillow refuses a whole file for more than 1 MiB of compressed text or colour profile, and for a wrong checksum in any
chunk. The PNG specification lets a reader skip ancillary chunks: a fault in one does not make a picture unreadable.
"""

import zlib
from collections.abc import Iterator

from sam3_engine.errors import ImageTooLarge

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NEEDED = (b"tRNS", b"eXIf")
"""Ancillary chunks that change the picture: transparency and orientation."""
ORIENTED = (b"XML:com.adobe.xmp", b"Raw profile type exif", b"Raw profile type APP1", b"Raw profile type xmp")
"""Keywords of texts that may hold the orientation."""
MOST_CHUNKS = 2**16
"""Chunks of a file; at the customary 8 KiB each they hold 512 MiB."""
MOST_TEXT = 2**20
"""Bytes of a text that Pillow accepts."""


def picture_only(content: bytes) -> bytes:
    """The file with only the chunks that its picture needs: all critical ones, and of the ancillary ones those with
    transparency or orientation whose checksum is right. An animation becomes its default image. Another kind of file
    is returned as it is.

    Raises ImageTooLarge for more than MOST_CHUNKS chunks.
    """
    if not content.startswith(SIGNATURE):
        return content
    kept, end, dropped = [SIGNATURE], len(SIGNATURE), False
    for count, (name, start, end) in enumerate(chunks(content)):
        if count == MOST_CHUNKS:
            raise ImageTooLarge(f"the PNG image has more than {MOST_CHUNKS} chunks")
        if _needed(name, memoryview(content)[start:end]):
            kept.append(content[start:end])
        else:
            dropped = True
    return b"".join([*kept, content[end:]]) if dropped else content


def metadata(content: bytes) -> bytes:
    """The data of all ancillary chunks, one after another."""
    return b"".join(content[start + 8 : stop - 4] for name, start, stop in chunks(content) if name[0] & 0x20)


def chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each whole chunk: 4 bytes of length, 4 of name, the data, 4 of checksum."""
    start = len(SIGNATURE)
    while (stop := start + 12 + int.from_bytes(content[start : start + 4])) <= len(content):
        yield content[start + 4 : start + 8], start, stop
        start = stop


def _needed(name: bytes, chunk: memoryview) -> bool:
    if not name[0] & 0x20:  # critical
        return True
    text = name in (b"tEXt", b"zTXt", b"iTXt")
    if not text and name not in NEEDED:
        return False
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:]):
        return False
    return not text or _may_tell_the_orientation(name, bytes(chunk[8:-4]))


def _may_tell_the_orientation(name: bytes, data: bytes) -> bool:
    keyword, _, value = data.partition(b"\0")
    if keyword not in ORIENTED or len(value) > MOST_TEXT:
        return False
    if name == b"zTXt":
        return _fits(value[1:])
    if name == b"iTXt" and value[:1] == b"\1":  # compressed; language and translated keyword come first
        return _fits(value[2:].split(b"\0", 2)[-1])
    return True


def _fits(compressed: bytes) -> bool:
    try:
        return len(zlib.decompressobj().decompress(compressed, MOST_TEXT + 1)) <= MOST_TEXT
    except zlib.error:
        return False
