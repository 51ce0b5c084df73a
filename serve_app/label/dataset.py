"""The folder of a data set: its parts, its manifest and its errors.

A part is a Parquet file of `rows.LABELLED`. The process that runs the command is the only one that writes: a part is
written under another name, brought to the disk, and then renamed. So after a kill at any moment a part is there whole
or not at all, and the parts alone say which images are done. A part that holds an image again is possible only where
the image could not be read before.

Everything that is read back is checked: other programs, disks and people may have changed it.
"""

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from serve_app.label.labelling import Manifest
from serve_app.label.rows import LABELLED, NEEDED

PARTS, MANIFEST, ERRORS, LOCK = "parts", "manifest.json", "errors.jsonl", ".lock"
ROWS = 256
"""Images whose objects are in memory at once."""
_PART = re.compile(r"part-(?P<number>\d+)\.parquet")


class DatasetInUse(Exception):
    """Another command writes into the folder."""


class OtherLabels(Exception):
    """The folder holds labels that were made in another way; the message names the differences."""


class BrokenDataset(Exception):
    """A file of the data set is not as it was written; the message names it and says what helps."""


class Dataset:
    """A data set's folder. Make one with `Dataset.open`. Its methods that read raise BrokenDataset."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._next = 1 + max((_number(part) for part in self.parts()), default=-1)

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

    @property
    def begun(self) -> bool:
        """Whether the folder holds a data set, labelled or not."""
        return (self.folder / PARTS).is_dir()

    def parts(self) -> list[Path]:
        """The files of the parts, in the order in which they were written."""
        found = (self.folder / PARTS).glob("part-*.parquet")
        return sorted((part for part in found if _PART.fullmatch(part.name)), key=_number)

    def add(self, table: pa.Table) -> None:
        """Write a part. Once this returns, it is on the disk."""
        path = self.folder / PARTS / f"part-{self._next:06d}.parquet"
        write_whole(path, lambda made: _write_part(table, made))
        self._next += 1
        with (self.folder / ERRORS).open("a", encoding="utf-8") as file:
            file.writelines(_error_line(location, error) for location, error in _errors(table))

    def done(self) -> dict[str, bool]:
        """The locations of all images that are in a part, and whether they could be read."""
        done: dict[str, bool] = {}
        for row in self._states():
            done[row["location"]] = done.get(row["location"], False) or row["error"] is None
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
        for row in self._states():
            if not done[row["location"]]:
                errors[row["location"]] = row["error"]
        lines = "".join(_error_line(*error) for error in sorted(errors.items()))
        write_whole(self.folder / ERRORS, lambda made: made.write_text(lines, encoding="utf-8"))
        return len(errors)

    def _states(self) -> Iterator[dict[str, Any]]:
        """Of each row of all parts `location` and `error`."""
        for part in self.parts():
            yield from _rows(part, ["location", "error"])

    def clear(self) -> None:
        """Remove all labels."""
        for part in self.parts():
            part.unlink()
        (self.folder / MANIFEST).unlink(missing_ok=True)
        self._next = 0

    def manifest(self) -> dict[str, Any]:
        """The manifest: facts about the labels, by `labelling.Manifest`; empty before the first run."""
        path = self.folder / MANIFEST
        helps = "Put it back from a copy, or pass --restart to remove all labels and begin again"
        if not path.exists():
            if self.parts():  # it is written before the first part
                raise BrokenDataset(f"{path} is gone, which says how the labels were made. {helps}.")
            return {}
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
            Manifest.model_validate(found)
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise BrokenDataset(f"{path} is damaged ({where or 'all of it'} is wrong). {helps}.") from error
        except (ValueError, RecursionError) as error:
            raise BrokenDataset(f"{path} is damaged (it is not JSON). {helps}.") from error
        return found

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


def _number(part: Path) -> int:
    found = _PART.fullmatch(part.name)
    assert found is not None
    return int(found["number"])


def _write_part(table: pa.Table, path: Path) -> None:
    pq.write_table(table.cast(LABELLED), path, compression="zstd", write_page_checksum=True)


def _rows(part: Path, columns: list[str] | None) -> Iterator[dict[str, Any]]:
    """The rows of a part. Raises BrokenDataset."""
    try:
        with pq.ParquetFile(part, page_checksum_verification=True) as file:
            _check_columns(file.schema_arrow, columns or LABELLED.names)
            for batch in file.iter_batches(ROWS, columns=columns):
                for row in batch.to_pylist():
                    _check_row(row)
                    yield row
    except (pa.ArrowException, ValueError, OSError) as error:
        if (
            isinstance(error, OSError) and error.errno
        ):  # of the file system: such as a part that may not be read
            raise
        why = " ".join(str(error).split())[:200].rstrip(".")
        raise BrokenDataset(
            f"{part} is damaged ({why}). Remove it, and the same command labels its images again; "
            "or pass --restart to remove all labels and begin again."
        ) from error


def _check_columns(schema: pa.Schema, names: list[str]) -> None:
    for name in names:
        if name not in schema.names or schema.field(name).type != LABELLED.field(name).type:
            raise ValueError(f"it has no column {name} of the type {LABELLED.field(name).type}")


def _check_row(row: Mapping[str, Any]) -> None:
    needed = ["location"] if row.get("error") is not None else NEEDED
    for name in needed:
        if name in row and row[name] is None:
            raise ValueError(f"a row has no {name}")
    if any(one is None or None in one.values() for one in row.get("objects") or ()):
        raise ValueError("an object is not whole")


def _errors(table: pa.Table) -> Iterator[tuple[str, str]]:
    for location, error in zip(table["location"].to_pylist(), table["error"].to_pylist(), strict=True):
        if error is not None:
            yield location, error


def _error_line(location: str, error: str) -> str:
    return json.dumps({"image": location, "error": error}, ensure_ascii=False) + "\n"
