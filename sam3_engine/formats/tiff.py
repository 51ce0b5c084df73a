"""The layout of a TIFF file: the strips or tiles that its first picture is cut into."""

from dataclasses import dataclass

from sam3_engine.errors import ImageTooLarge
from sam3_engine.formats.directories import Directory, read_directory

WIDTH, LENGTH, BITS, COMPRESSION, SAMPLES, PLANAR = 256, 257, 258, 259, 277, 284
PHOTOMETRIC, EXTRA, SAMPLE_FORMAT = 262, 338, 339
STRIPS, ROWS, STRIP_BYTES = 273, 278, 279
TILE_WIDTH, TILE_LENGTH, TILES, TILE_BYTES = 322, 323, 324, 325
MOST_JPEG_SCANS = 64
SPARE_BYTES, SPARE_PIXELS = 2**20, 2**24
_JPEG = (6, 7)


@dataclass(frozen=True, slots=True)
class Layout:
    """The blocks (strips or tiles) of a picture, row by row and plane by plane. Lengths in pixels, places in bytes."""

    width: int
    height: int
    block_width: int
    block_height: int
    tiled: bool
    sample_bits: int
    bits: int
    """Bits of one pixel in one block: of all samples, or of one where each has a plane of its own."""
    planes: int
    compressed: bool
    offsets: list[int]
    lengths: list[int]

    @property
    def across(self) -> int:
        """Blocks beside each other."""
        return -(-self.width // self.block_width)

    @property
    def down(self) -> int:
        """Blocks below each other."""
        return -(-self.height // self.block_height)

    @property
    def block_bytes(self) -> int:
        """Bytes of a block that is decoded."""
        return -(-self.block_width * self.bits // 8) * self.block_height


def layout(directory: Directory) -> Layout | None:
    """The layout of a TIFF file's first picture; None where its directory names none."""
    try:
        width, height = directory.numbers(WIDTH)[0], directory.numbers(LENGTH)[0]
        samples = directory.numbers(SAMPLES, (1,))[0]
        planes = samples if directory.numbers(PLANAR, (1,))[0] == 2 else 1
        bits = max(directory.numbers(BITS, (1,)))
        tiled = TILES in directory.entries
        size = (
            (directory.numbers(TILE_WIDTH)[0], directory.numbers(TILE_LENGTH)[0])
            if tiled
            else (width, min(height, directory.numbers(ROWS, (height,))[0]))
        )
        places, lengths = (TILES, TILE_BYTES) if tiled else (STRIPS, STRIP_BYTES)
        if min(width, height, *size, planes, bits) < 1:
            return None
        return Layout(
            width,
            height,
            *size,
            tiled,
            bits,
            bits * (1 if planes > 1 else samples),
            planes,
            directory.numbers(COMPRESSION, (1,))[0] != 1,
            directory.numbers(places),
            directory.numbers(lengths),
        )
    except (IndexError, ValueError):
        return None


def check(content: bytes) -> Layout | None:
    """The layout of a TIFF file; None for other files, and where it has none.

    Raises ImageTooLarge for strips or tiles that cost more than the picture that they make: too many, outside of it,
    made of the same bytes, or JPEGs of many scans.
    """
    directory = read_directory(content)
    found = layout(directory) if directory is not None else None
    if directory is None or found is None:
        return None
    pixels, blocks = found.width * found.height, found.across * found.down
    if blocks * found.block_width * found.block_height > 4 * pixels + SPARE_PIXELS:
        raise ImageTooLarge("the TIFF image has tiles that are larger than its picture")
    if sum(found.lengths) > 2 * len(content) + SPARE_BYTES:
        raise ImageTooLarge("the TIFF image has strips of more bytes than its file")
    if directory.numbers(COMPRESSION, (1,))[0] in _JPEG and _most_scans(content, found) > MOST_JPEG_SCANS:
        raise ImageTooLarge(f"the TIFF image has a strip with more than {MOST_JPEG_SCANS} scans")
    return found


def _most_scans(content: bytes, found: Layout) -> int:
    # In compressed data each 0xFF is followed by a zero, so that these bytes stand for scans.
    places = zip(found.offsets, found.lengths, strict=False)
    return max((content.count(b"\xff\xda", at, at + length) for at, length in places), default=0)
