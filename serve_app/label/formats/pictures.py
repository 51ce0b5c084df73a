"""The image files beside the labels, for formats whose tools look for them there."""

from pathlib import Path

from serve_app.label.catalogue import LabelledImage
from serve_app.label.reading import local_file, read_file


def put(image: LabelledImage, folder: Path) -> Path:
    """Make a link to the image's file, or a copy of one that is no file of this machine. Returns its path."""
    path = folder / image.file
    path.parent.mkdir(parents=True, exist_ok=True)
    if (file := local_file(image.location)) is None:
        path.write_bytes(read_file(image.location))
    else:
        path.symlink_to(file)
    return path
