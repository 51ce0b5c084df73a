"""Lists of images: what a row of a .txt, .csv, .jsonl or COCO file, or of a Parquet file without bytes, names.

A path starts at the folder of its list, or at `root`; `~` is a character as any other. A row that has both a path and a
URL means the file where it is there, else the URL. A list names images, never further lists.
"""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TextIO
from urllib.parse import SplitResult, unquote, urlsplit

from serve_app.label.coco_rows import number_of, rows_of
from serve_app.label.reasons import in_words

IMAGES = [".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"]
PARQUET = ".parquet"
LISTS = (".txt", ".csv", ".jsonl", ".json", PARQUET)
PATHS = ("path", "location", "image", "file_name", "filename")
URLS = ("url", "image_url", "coco_url")
"""Names under which a row has its image, in letters of any case: of each, the first that is there counts."""
LOOKED_AT = 20


class NoImages(Exception):
    """A source is not there, or has nothing to label; the message says which."""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image to label. location: absolute path or URL, which tells it from all others. name: its path below its
    source, with forward slashes, by which the data set calls it."""

    location: str
    name: str


def absolute(path: Path) -> Path:
    """The path from the root, without `..`; a link stays what it is, for it may be the only place of a name."""
    return Path(os.path.normpath(path.absolute()))


def is_list(place: str) -> bool:
    """Whether a path or URL names a list of images. Raises ValueError for what begins as a URL and is none."""
    path = split_url(place).path if "://" in place else place
    return path.lower().endswith(LISTS)


def split_url(url: str) -> SplitResult:
    """The parts of a URL. Raises ValueError."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise ValueError(f"{url!r} is no URL: {error}") from None


@dataclass(frozen=True, slots=True)
class Entries:
    """Makes images from the rows of one list. base: the folder, or the URL of a place in a storage, where paths
    start."""

    base: str

    def of(self, row: Any) -> SourceImage:
        """The image of a row: a text, or a mapping. Raises ValueError."""
        if isinstance(row, str) and row:
            return self.named(row)
        if not isinstance(row, Mapping):
            raise ValueError(f"expected an object or a text, not {str(row)[:40]!r}")
        texts = {str(name).lower(): value for name, value in row.items() if isinstance(value, str) and value}
        path, url = _first(texts, PATHS), _first(texts, URLS)
        if path and url and "://" not in path + self.base and not Path(self.named(path).location).exists():
            path = None
        if not (found := path or url):
            raise ValueError(f"a row has none of the columns {', '.join(PATHS + URLS)}")
        return self.named(found)

    def named(self, text: str) -> SourceImage:
        """The image of a path or URL. Raises ValueError."""
        if is_list(text):
            raise ValueError(f"{text!r} is a list itself: name it as a source of the command")
        if "://" in text:
            return SourceImage(text, name_of_url(text))
        if "://" in self.base:
            return SourceImage(f"{self.base.rstrip('/')}/{text.lstrip('/')}", text.lstrip("/"))
        folder = absolute(Path(self.base))
        path = absolute(folder / text)
        inside = path.is_relative_to(folder)
        name = os.path.relpath(path, folder) if inside else path.name
        return SourceImage(str(path), PurePosixPath(Path(name)).as_posix())


def name_of_url(url: str) -> str:
    """The path of a URL as a name. Readers of labels pass over images without a known ending, so each has one."""
    parts = split_url(url)
    name = unquote(parts.path).strip("/") or parts.netloc
    return name if PurePosixPath(name).suffix.lower() in IMAGES else f"{name}.jpg"


def _first(texts: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((texts[name] for name in names if name in texts), None)


def list_rows(file: TextIO, ending: str) -> Iterator[tuple[str, Any]]:
    """The rows of a list that names images, each with its place in the file. Raises ValueError and csv.Error."""
    if ending == ".json":
        rows = rows_of(json.load(file), "images")
        yield from ((f"image {number}", row) for number, row in enumerate(rows, 1))
    elif ending == ".csv":
        table = csv.DictReader(file)
        yield from ((f"line {table.line_num}", row) for row in table)
    else:
        for number, line in enumerate(file, 1):
            text = line.strip()
            if ending == ".txt" and text and not line.startswith("#"):
                yield f"line {number}", text
            elif ending == ".jsonl" and text:
                try:
                    yield f"line {number}", json.loads(text)
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"line {number}: {in_words(error)}") from error


def coco_images(path: Path, root: str | None = None) -> tuple[dict[str, Any], dict[int, SourceImage]]:
    """A COCO file, and its images by their ids. root: where its paths start, if not at its folder. Raises NoImages."""
    entries = Entries(root or str(path.parent))
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        rows = rows_of(document, "images")
        numbers = [number_of(row, "id", "an image") for row in rows]
        return document, {
            number: _image(entries, row, number) for number, row in zip(numbers, rows, strict=True)
        }
    except (ValueError, OSError, RecursionError) as error:
        raise NoImages(f"{path} is no COCO file: {in_words(error)}") from error


def _image(entries: Entries, row: Mapping[str, Any], number: int) -> SourceImage:
    try:
        return entries.of(row)
    except ValueError as error:
        raise ValueError(f"image {number}: {error}") from error


def none_is_there(source: str, images: Sequence[SourceImage]) -> None:
    """Raises NoImages for a list whose first files are all missing: its paths start at another folder."""
    first = [image.location for image in images[:LOOKED_AT]]
    if first and not any("://" in location or os.path.lexists(location) for location in first):
        raise NoImages(
            f"{source}: of its first {len(first)} images none is there, such as {first[0]}. "
            "--root names the folder at which its paths start."
        )
