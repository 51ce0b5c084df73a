"""The checks that every image file passes before a decoder reads it, by the file's format."""

from sam3_engine.formats import bmp, gif, jpeg, png, tiff
from sam3_engine.formats.directories import HEADERS, check_directories


def checked(content: bytes) -> bytes:
    """The file without parts that its first picture does not need.

    Raises ImageTooLarge where its structure would cost a reader more than its size justifies, and UnreadableImage
    where it is broken.
    """
    if content.startswith(jpeg.SIGNATURE):
        check_directories(content[: jpeg.structure(content).header])
    elif content.startswith(png.SIGNATURE):
        content = png.picture_only(content)
        check_directories(png.metadata(content))
    elif content.startswith(gif.SIGNATURES):
        content = gif.picture_only(content)
    elif content.startswith(HEADERS):
        check_directories(content, anywhere=False)
        tiff.check(content)
    elif content.startswith(bmp.SIGNATURE):
        bmp.check(content)
    else:  # WebP and AVIF, whose metadata may be anywhere
        check_directories(content)
    return content
