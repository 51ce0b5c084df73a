"""Images in Parquet files: their bytes, as `datasets` and crawlers keep them, or their paths and URLs.

An image whose bytes are in a file has the location `FILE.parquet#000000017`: the row counts from 0, with zeros before
it, so that the order of the locations is that of the rows.
"""

import re
import threading
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from serve_app.label.lists import PARQUET, PATHS, URLS, Entries, NoImages, SourceImage
from serve_app.label.texts import fits

BYTES = ("image", "bytes", "image_bytes", "img", "jpg", "jpeg", "png", "webp", "content", "data")
"""Columns that hold files, the first that is there; else the only one that could."""
NAMES = (*PATHS, "name", "key", "__key__", "id", "image_id")
ROWS = 16
"""Read at once: of a file's bytes no more is in memory."""
BUFFER = 2**20
_ROW = re.compile(rf"(?P<file>.+\{PARQUET})#(?P<row>\d{{9,}})")


def parquet_images(location: str, root: str) -> Iterator[SourceImage]:
    """The images of a file. root: where its paths start. Raises NoImages, OSError and pyarrow.ArrowException."""
    with _opened(location) as file:
        schema = file.schema_arrow
        if column := _bytes_column(schema):
            yield from _with_bytes(file, location, column)
            return
        wanted = [each.name for each in schema if each.name.lower() in PATHS + URLS]
        if not any(_is_text(schema.field(name).type) for name in wanted):
            raise NoImages(
                f"{location} has no column of images: no bytes, and none of {', '.join(PATHS + URLS)}, "
                f"but {', '.join(schema.names)[:200]}"
            )
        entries = Entries(root)
        for batch in file.iter_batches(columns=wanted):
            yield from map(entries.of, batch.to_pylist())


def is_row(location: str) -> bool:
    """Whether the location is a row's of a Parquet file, whose bytes `read_row` gives."""
    return _ROW.fullmatch(location) is not None


def read_row(location: str) -> bytes:
    """The bytes of an image file in a Parquet file. Raises OSError for a row that has none.

    Rows are read forwards: a process that reads a file in the order of its rows reads it once.
    """
    found = _ROW.fullmatch(location)
    assert found is not None
    try:
        content = _reader.row(found["file"], int(found["row"]))
    except (pa.ArrowException, IndexError) as error:
        raise OSError(f"row {int(found['row'])} of {found['file']}: {error}") from error
    if content is None:
        raise OSError(f"row {int(found['row'])} of {found['file']} holds no bytes")
    return content


@dataclass(slots=True)
class _Reader:
    """Reads rows of one file after another. For any thread."""

    _lock: Any = field(default_factory=threading.Lock)
    _name: str = ""
    _file: pq.ParquetFile | None = None
    _column: str = ""
    _starts: list[int] = field(default_factory=list)  # of the row groups, and the number of all rows
    _batches: Iterator[pa.RecordBatch] = field(default_factory=lambda: iter(()))
    _batch: list[Any] = field(default_factory=list)
    _first: int = 0  # row of the batch

    def row(self, name: str, row: int) -> bytes | None:
        with self._lock:
            if self._file is None or name != self._name:
                self._open(name)
            group = self._group(row)
            if row < self._first or group > self._group(self._first):
                self._start(group)
            while row >= self._first + len(self._batch):
                self._first += len(self._batch)
                self._batch = [_content(one) for one in next(self._batches).column(0).to_pylist()]
            content: bytes | None = self._batch[row - self._first]
            return content

    def _open(self, name: str) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        file = _opened(name)
        column = _bytes_column(file.schema_arrow)
        if column is None:
            raise OSError(f"{name} has no column of images any more")
        counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        self._starts = list(accumulate(counts, initial=0))
        self._name, self._file, self._column = name, file, column
        self._start(0)

    def _group(self, row: int) -> int:
        if row >= self._starts[-1]:
            raise IndexError(f"there are {self._starts[-1]} rows")
        return bisect_right(self._starts, row) - 1

    def _start(self, group: int) -> None:
        assert self._file is not None
        groups = range(group, self._file.num_row_groups)
        self._batches = self._file.iter_batches(ROWS, row_groups=groups, columns=[self._column])
        self._batch, self._first = [], self._starts[group]


_reader = _Reader()


def _opened(location: str) -> pq.ParquetFile:
    if "://" not in location:
        return pq.ParquetFile(location, buffer_size=BUFFER)
    import fsspec

    return pq.ParquetFile(fsspec.open(location, "rb").open(), buffer_size=BUFFER)


def _with_bytes(file: pq.ParquetFile, location: str, column: str) -> Iterator[SourceImage]:
    """A row's name is the file's, then what a column says, or its number. Its ending is that of the first image."""
    stem, schema = PurePosixPath(location).stem, file.schema_arrow
    named = _name_column(schema, column)
    ending = _ending(file, column)
    if named is None:
        for row in range(file.metadata.num_rows):
            yield SourceImage(f"{location}#{row:09d}", f"{stem}/{row:09d}{ending}")
        return
    row = 0
    for batch in file.iter_batches(columns=[named]):
        for value in batch.column(0).to_pylist():
            text = value.get("path") if isinstance(value, dict) else value
            name = str(text) if text is not None and str(text) and fits(str(text)) else f"{row:09d}"
            name = name.rpartition("://")[2].lstrip("/")
            name += "" if PurePosixPath(name).suffix else ending
            yield SourceImage(f"{location}#{row:09d}", f"{stem}/{name}")
            row += 1


def _name_column(schema: pa.Schema, column: str) -> str | None:
    """The path of the column that reading a name needs: of the images' struct, or of another column."""
    kind = schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("path") >= 0:
        return f"{column}.path"
    names = {
        each.name.lower(): each.name
        for each in schema
        if _is_text(each.type) or pa.types.is_integer(each.type)
    }
    return next((names[name] for name in NAMES if name in names), None)


def _ending(file: pq.ParquetFile, column: str) -> str:
    """The ending of the first image's format: reading all of them would take as long as labelling."""
    for batch in file.iter_batches(ROWS, columns=[column]):
        for value in batch.column(0).to_pylist():
            try:
                kind = Image.open(BytesIO(_content(value) or b"")).format
            except OSError:
                continue
            return {"JPEG": ".jpg", "TIFF": ".tif", "MPO": ".jpg"}.get(str(kind), f".{str(kind).lower()}")
        break
    return ".jpg"


def _content(value: Any) -> bytes | None:
    content = value.get("bytes") if isinstance(value, dict) else value
    return content if isinstance(content, bytes) else None


def _bytes_column(schema: pa.Schema) -> str | None:
    holding = {each.name.lower(): each.name for each in schema if _holds_bytes(each.type)}
    known = next((holding[name] for name in BYTES if name in holding), None)
    return known or (next(iter(holding.values())) if len(holding) == 1 else None)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _holds_bytes(kind.field(at).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
