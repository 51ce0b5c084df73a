"""The image files beside the labels, for formats whose tools look for them there."""

from pathlib import Path

from sam3_engine.errors import EngineError
from serve_app.label.catalogue import LabelledImage
from serve_app.label.reading import local_file, read_file


def put(image: LabelledImage, folder: Path) -> Path:
    """Make a link to the image's file, or a copy: of one that is no file of this machine, or as the data set's owner
    wishes. Returns its path. Raises OSError."""
    path = folder / image.file
    path.parent.mkdir(parents=True, exist_ok=True)
    file = local_file(image.location)
    if file is not None and image.linked:
        path.symlink_to(file)
        return path
    try:
        path.write_bytes(read_file(image.location))
    except EngineError as error:
        raise OSError(f"{image.location}: {error}. The same command writes the format again.") from error
    return path
