"""Lists the images of a run's sources: files, folders, globs, storages, and lists of them.

Sources are listed before anything is read. An image is there once, whatever number of sources names it, in the order
of the locations. A folder gives the files with an ending of IMAGES, at any depth, without hidden ones, through links,
too. A glob gives those, and Parquet files. A list names an image a line (.txt), a row (.csv, .parquet), a document
(.jsonl), or as a COCO file does (.json).

The data set's own images are no sources: what a run writes into its folder, formats' folders, is left out. Any other
image in that folder is refused, for the formats take the place of what is there.
"""

import csv
import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pyarrow as pa

from serve_app.label.formats import FORMATS
from serve_app.label.lists import (
    IMAGES,
    LISTS,
    PARQUET,
    Entries,
    NoImages,
    SourceImage,
    absolute,
    list_rows,
    name_of_url,
    none_is_there,
    split_url,
)
from serve_app.label.parquet import parquet_images
from serve_app.label.reasons import in_words
from serve_app.label.texts import escaped, fits


@dataclass(slots=True)
class Listing:
    """The images of all sources, and the locations that cannot be any, with the reason."""

    images: list[SourceImage] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def list_images(sources: Sequence[str], output: Path | None = None, root: str | None = None) -> Listing:
    """List the sources. output: the folder of the data set, see above. root: folder or URL at which the paths of lists
    start, if not at the list's own folder.

    Raises NoImages.
    """
    found: dict[str, SourceImage] = {}
    listing = Listing()
    own = _Own(output)
    for source in sources:
        images = kept = 0
        for image in _of_source(source, root):
            images += 1
            if own.has(image.location):
                continue
            kept += 1
            if fits(image.location):
                found.setdefault(image.location, image)
            else:
                refused = "its name holds control characters, or bytes that are not UTF-8"
                listing.refused[escaped(image.location)] = refused
        if not kept:
            which = f"but those of the data set in {output}" if images else f"(endings: {' '.join(IMAGES)})"
            raise NoImages(f"{source} has no image {which}")
    listing.images = [found[location] for location in sorted(found)]
    return listing


class _Own:
    """Knows the images that a run has written. output: the folder of its data set."""

    def __init__(self, output: Path | None) -> None:
        self._output = output
        self._folder = output.resolve() if output else None
        self._of_folder: dict[str, bool] = {}

    def has(self, location: str) -> bool:
        """Whether the image is one of the data set's. Raises NoImages for another one in its folder."""
        if self._folder is None or "://" in location:
            return False
        folder = os.path.dirname(location)  # noqa: PTH120 - of millions
        if folder not in self._of_folder:
            self._of_folder[folder] = self._judged(Path(folder).resolve(), self._folder, location)
        return self._of_folder[folder]

    def _judged(self, folder: Path, output: Path, location: str) -> bool:
        if not folder.is_relative_to(output):
            return False
        if folder != output and folder.relative_to(output).parts[0] in FORMATS:
            return True
        raise NoImages(
            f"{escaped(location)} lies in {self._output}, the folder of the data set: "
            "choose an output folder that holds none of the sources"
        )


def _of_source(source: str, root: str | None) -> Iterator[SourceImage]:
    if not source:
        raise NoImages("a source is an empty text")
    if "://" in source:
        return _of_url(source, root)
    path = Path(source)
    if path.is_dir():
        return _of_folder(path)
    if path.is_file():
        return _of_file(path, path.name, root)
    if glob.has_magic(source):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - of absolute patterns, too
        files = [Path(match) for match in matches if _is_image(match) and Path(match).is_file()]
        base = _common_folder(files)
        return (image for file in files for image in _of_file(file, os.path.relpath(file, base), root))
    raise NoImages(f"there is no {source}")


def _is_image(name: str) -> bool:
    return name.lower().endswith((*IMAGES, PARQUET))


def _of_file(path: Path, name: str, root: str | None) -> Iterator[SourceImage]:
    if path.suffix.lower() in LISTS:
        return _of_list(str(absolute(path)), root or str(path.parent))
    return iter([_file(path, name)])


def _file(path: Path, name: str) -> SourceImage:
    return SourceImage(str(absolute(path)), PurePosixPath(Path(name)).as_posix())


def _of_folder(folder: Path) -> Iterator[SourceImage]:
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        here = Path(place).stat()
        if (here.st_dev, here.st_ino) in seen:  # a link to a folder around it
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            if not name.startswith(".") and path.suffix.lower() in IMAGES:
                yield _file(path, os.path.relpath(path, folder))


def _common_folder(files: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([file.parent for file in files])) if files else Path()


def _of_url(url: str, root: str | None) -> Iterator[SourceImage]:
    """An https image, a list, or what a storage has at and below a place or for a glob (through fsspec)."""
    try:
        parts = split_url(url)
    except ValueError as error:
        raise NoImages(str(error)) from error
    if parts.scheme == "file":
        yield from _of_source(unquote(parts.path), root)
        return
    ending = PurePosixPath(parts.path).suffix.lower()
    if ending in LISTS and not glob.has_magic(url):
        yield from _of_list(url, root or url.rpartition("/")[0])
        return
    if parts.scheme in ("http", "https"):
        yield SourceImage(url, PurePosixPath(name_of_url(url)).name)
        return
    from fsspec.core import url_to_fs

    try:
        storage, place = url_to_fs(url)
        files = sorted(storage.glob(place) if glob.has_magic(place) else storage.find(place))
    except Exception as error:  # each storage's client has its own
        raise NoImages(f"{url} cannot be listed: {in_words(error)}") from error
    base = place.rstrip("/")
    if glob.has_magic(place):
        base = os.path.commonpath([str(PurePosixPath(file).parent) for file in files]) if files else place
    for file in files:
        location = storage.unstrip_protocol(file)
        if file == base:
            yield SourceImage(location, PurePosixPath(file).name)
        elif glob.has_magic(place) and file.lower().endswith(PARQUET):
            yield from _of_list(location, root or location.rpartition("/")[0])
        elif PurePosixPath(file).suffix.lower() in IMAGES:
            yield SourceImage(location, file.removeprefix(base + "/"))


def _of_list(location: str, root: str) -> Iterator[SourceImage]:
    """The images of a list at a path or URL."""
    try:
        if location.lower().endswith(PARQUET):
            images = list(parquet_images(location, root))
        else:
            images = list(_text_images(location, root))
    except NoImages:
        raise
    except Exception as error:  # each storage's client has its own
        foreseen = (
            ValueError,
            LookupError,
            csv.Error,
            pa.ArrowException,
            ImportError,
            OSError,
            RecursionError,
        )
        if "://" not in location and not isinstance(error, foreseen):
            raise
        raise NoImages(f"{location} is no list of images: {in_words(error)}") from error
    if not any(PARQUET + "#" in image.location for image in images[:1]):
        none_is_there(location, images)
    yield from images


def _text_images(location: str, root: str) -> Iterator[SourceImage]:
    import fsspec

    entries = Entries(root)
    with fsspec.open(location, "rt", encoding="utf-8-sig", newline="") as file:
        ending = PurePosixPath(split_url(location).path if "://" in location else location).suffix.lower()
        for place, row in list_rows(file, ending):
            try:
                yield entries.of(row)
            except ValueError as error:
                raise ValueError(f"{place}: {in_words(error)}") from error
