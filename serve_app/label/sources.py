"""Lists the images of a run's sources: files, folders, globs, storages, and lists of them.

Sources are listed before anything is read. An image is there once, whatever number of sources names it, in the order
of the locations. A folder gives the files with an ending of IMAGES, at any depth, without hidden ones. A list names an
image a line (.txt), a row (.csv), a document (.jsonl), or as a COCO file does (.json); its paths start at its folder.
"""

import csv
import glob
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TextIO
from urllib.parse import unquote, urlsplit

IMAGES = [".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"]
LISTS = (".txt", ".csv", ".jsonl", ".json")
COLUMNS = ("path", "location", "image", "url", "coco_url", "file_name", "filename")
"""Names under which a row or a document has its image, the first one that is there."""


class NoImages(Exception):
    """A source is not there, or has nothing to label; the message says which."""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image to label. location: absolute path or URL, which tells it from all others. name: its path below its
    source, with forward slashes, by which the data set calls it."""

    location: str
    name: str


@dataclass(slots=True)
class Listing:
    """The images of all sources, and the locations that cannot be any, with the reason."""

    images: list[SourceImage] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def list_images(sources: Sequence[str], leave_out: Path | None = None) -> Listing:
    """List the sources. leave_out: a folder that is no source although it lies in one, such as the data set.

    Raises NoImages.
    """
    found: dict[str, SourceImage] = {}
    listing = Listing()
    for source in sources:
        before = len(found) + len(listing.refused)
        images = 0
        for image in _of_source(source):
            images += 1
            if leave_out is not None and _lies_in(image.location, leave_out):
                continue
            if image.location.isprintable():
                found.setdefault(image.location, image)
            else:  # bytes that are no UTF-8, or control characters: no format of labels can name it
                shown = image.location.encode("utf-8", "backslashreplace").decode()
                listing.refused[shown] = "its name holds characters that cannot be printed"
        if not images and before == len(found) + len(listing.refused):
            raise NoImages(f"{source} has no image (endings: {' '.join(IMAGES)})")
    listing.images = [found[location] for location in sorted(found)]
    return listing


def _of_source(source: str) -> Iterator[SourceImage]:
    if "://" in source:
        return _of_url(source)
    path = Path(source).expanduser()
    if path.is_dir():
        return _of_folder(path)
    if path.is_file():
        return _of_list(path) if path.suffix.lower() in LISTS else iter([_file(path, path.name)])
    if glob.has_magic(source):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - of absolute patterns, too
        files = [Path(match) for match in matches if Path(match).is_file()]
        base = _common_folder(files)
        return (_file(file, os.path.relpath(file, base)) for file in files)
    raise NoImages(f"there is no {source}")


def _file(path: Path, name: str) -> SourceImage:
    return SourceImage(str(absolute(path)), PurePosixPath(Path(name)).as_posix())


def _of_folder(folder: Path) -> Iterator[SourceImage]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            if not name.startswith(".") and path.suffix.lower() in IMAGES:
                yield _file(path, os.path.relpath(path, folder))


def _common_folder(files: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([file.parent for file in files])) if files else Path()


def _of_url(url: str) -> Iterator[SourceImage]:
    """An https image, or what a storage has at and below a place (through fsspec)."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        yield from _of_source(unquote(parts.path))
        return
    if parts.scheme in ("http", "https"):
        yield SourceImage(url, PurePosixPath(unquote(parts.path)).name or parts.netloc)
        return
    from fsspec.core import url_to_fs

    try:
        storage, place = url_to_fs(url)
        files = sorted(storage.find(place))
    except (ImportError, ValueError, OSError) as error:
        raise NoImages(f"{url} cannot be listed: {error}") from error
    base = place.rstrip("/")
    for file in files:
        if file == base or PurePosixPath(file).suffix.lower() in IMAGES:
            name = PurePosixPath(file).name if file == base else file.removeprefix(base + "/")
            yield SourceImage(storage.unstrip_protocol(file), name)


def _of_list(path: Path) -> Iterator[SourceImage]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for entry in _entries(file, path.suffix.lower()):
                yield _entry(entry, path.parent)
    except (ValueError, LookupError, csv.Error) as error:
        raise NoImages(f"{path} is no list of images: {error}") from error


def _entries(file: TextIO, ending: str) -> Iterator[str]:
    if ending == ".txt":
        yield from (line.strip() for line in file if line.strip() and not line.startswith("#"))
    elif ending == ".csv":
        rows = csv.DictReader(file)
        yield from (_image_of(row) for row in rows)
    elif ending == ".jsonl":
        yield from (_image_of(json.loads(line)) for line in file if line.strip())
    else:
        yield from (_image_of(row) for row in _coco_rows(json.load(file)))


def _coco_rows(document: Any) -> list[Any]:
    rows = document.get("images") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise ValueError("it is not a COCO file, whose `images` is a list")
    return rows


def coco_images(path: Path) -> tuple[dict[str, Any], dict[int, SourceImage]]:
    """A COCO file, and its images by their ids. Raises NoImages."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        rows = _coco_rows(document)
        return document, {int(row["id"]): _entry(_image_of(row), path.parent) for row in rows}
    except (ValueError, LookupError, TypeError, OSError) as error:
        raise NoImages(f"{path} is no COCO file: {error}") from error


def _image_of(row: Any) -> str:
    if isinstance(row, str):
        return row
    if not isinstance(row, dict):
        raise ValueError(f"expected an object or a text, not {str(row)[:40]!r}")
    for column in COLUMNS:
        if isinstance(value := row.get(column), str) and value:
            return value
    raise ValueError(f"a row has none of the columns {', '.join(COLUMNS)}")


def _entry(entry: str, folder: Path) -> SourceImage:
    if "://" in entry:
        parts = urlsplit(entry)
        return SourceImage(entry, unquote(parts.path).lstrip("/") or parts.netloc)
    path = absolute(folder / Path(entry).expanduser())
    inside = path.is_relative_to(absolute(folder))
    return _file(path, os.path.relpath(path, absolute(folder)) if inside else path.name)


def _lies_in(location: str, folder: Path) -> bool:
    return "://" not in location and Path(location).is_relative_to(absolute(folder))


def absolute(path: Path) -> Path:
    """The path from the root, without `..`; a link stays what it is, for it may be the only place of a name."""
    return Path(os.path.normpath(path.absolute()))
