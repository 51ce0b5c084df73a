"""The folder of a data set: its parts, its manifest and its errors.

A part is a Parquet file of `rows.LABELLED`. The process that runs the command is the only one that writes: a part is
written under another name, brought to the disk, and then renamed. So after a kill at any moment a part is there whole
or not at all, and the parts alone say which images are done. A part that holds an image again is possible only where
the image could not be read before.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from serve_app.label.rows import LABELLED

PARTS, MANIFEST, ERRORS, LOCK = "parts", "manifest.json", "errors.jsonl", ".lock"
ROWS = 256
"""Images whose objects are in memory at once."""


class DatasetInUse(Exception):
    """Another command writes into the folder."""


class OtherLabels(Exception):
    """The folder holds labels that were made in another way; the message names the differences."""


class Dataset:
    """A data set's folder. Make one with `Dataset.open`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._next = 1 + max((int(part.stem.removeprefix("part-")) for part in self.parts()), default=-1)

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator["Dataset"]:
        """The data set, for this process alone until the end of the block. Raises OSError and DatasetInUse."""
        (folder / PARTS).mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DatasetInUse(f"another command writes into {folder}") from None
            for left in (folder / PARTS).glob("*.writing"):
                left.unlink()
            yield cls(folder)

    def parts(self) -> list[Path]:
        """The files of the parts, in the order in which they were written."""
        return sorted((self.folder / PARTS).glob("part-*.parquet"))

    def add(self, table: pa.Table) -> None:
        """Write a part. Once this returns, it is on the disk."""
        path = self.folder / PARTS / f"part-{self._next:06d}.parquet"
        write_whole(path, lambda made: pq.write_table(table.cast(LABELLED), made, compression="zstd"))
        self._next += 1
        with (self.folder / ERRORS).open("a", encoding="utf-8") as file:
            file.writelines(_error_line(location, error) for location, error in _errors(table))

    def done(self) -> dict[str, bool]:
        """The locations of all images that are in a part, and whether they could be read."""
        done: dict[str, bool] = {}
        for part in self.parts():
            table = pq.read_table(part, columns=["location", "error"])
            for location, error in zip(
                *(table[name].to_pylist() for name in table.column_names), strict=True
            ):
                done[location] = done.get(location, False) or error is None
        return done

    def images(self, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """The labelled images, each once, a few hundred in memory at a time. columns: those of `rows.LABELLED` that
        are needed beside `location` and `error`; None is all."""
        seen: set[str] = set()
        needed = None if columns is None else list({"location", "error", *columns})
        for part in self.parts():
            for row in _rows(part, needed):
                if row["error"] is None and row["location"] not in seen:
                    seen.add(row["location"])
                    yield row

    def tell_errors(self, refused: Mapping[str, str]) -> int:
        """Write the errors anew: of images that no part has, or will have, labels of. Returns their number. refused:
        locations that cannot be read, with the reason."""
        errors = dict(refused)
        done = self.done()
        for part in self.parts():
            table = pq.read_table(part, columns=["location", "error"])
            errors.update((location, error) for location, error in _errors(table) if not done[location])
        lines = "".join(_error_line(*error) for error in sorted(errors.items()))
        write_whole(self.folder / ERRORS, lambda made: made.write_text(lines, encoding="utf-8"))
        return len(errors)

    def clear(self) -> None:
        """Remove all labels."""
        for part in self.parts():
            part.unlink()
        (self.folder / MANIFEST).unlink(missing_ok=True)
        self._next = 0

    def manifest(self) -> dict[str, Any]:
        """The manifest: facts about the labels; empty before the first run."""
        path = self.folder / MANIFEST
        if not path.exists():
            return {}
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}

    def describe(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest."""
        text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
        write_whole(self.folder / MANIFEST, lambda made: made.write_text(text, encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file that then takes the place of `path`: whole, and on the disk."""
    made = path.with_name(path.name + ".writing")
    write(made)
    with made.open("rb+") as file:
        os.fsync(file.fileno())
    made.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _rows(part: Path, columns: list[str] | None) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(part) as file:
        for batch in file.iter_batches(ROWS, columns=columns):
            yield from batch.to_pylist()


def _errors(table: pa.Table) -> Iterator[tuple[str, str]]:
    for location, error in zip(table["location"].to_pylist(), table["error"].to_pylist(), strict=True):
        if error is not None:
            yield location, error


def _error_line(location: str, error: str) -> str:
    return json.dumps({"image": location, "error": error}, ensure_ascii=False) + "\n"
