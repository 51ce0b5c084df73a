"""What a run has found so far, on disk: the next run goes on from there after any interruption.

A folder holds `journal.jsonl`, one line for each frame; `session`, the tracker's state after one of these frames and
the journal's length there; and `asked.json`, what the run was asked for. Of a run that was killed, the lines behind the
last `session` are written again: tracking needs the state that belongs to them. A run that fails before the first
`session` leaves no folder.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict

from filelock import FileLock, Timeout

from sam3_engine.rle import Rle


class Found(TypedDict):
    """One object in a frame. box: x0, y0, x1, y1 in pixels, x1 and y1 exclusive."""

    id: int
    label: str
    score: float
    box: list[float]
    area: int
    rle: Rle


class Line(TypedDict):
    """One frame. size: height and width; objects: the ones that are seen."""

    frame: int
    seconds: float
    size: list[int]
    objects: list[Found]


class JournalInUse(Exception):
    """Another run works on the folder."""


class OtherRun(Exception):
    """The folder is of a run that was asked for something else."""


class Journal:
    """The folder of one run, from a `with` block's begin to its end."""

    def __init__(self, folder: Path, asked: Mapping[str, Any], *, restart: bool = False) -> None:
        """asked: everything that the results depend on, as JSON holds it. restart: forget what is there."""
        self._folder, self._asked, self._restart = folder, json.loads(json.dumps(asked)), restart
        self._lines, self._session = folder / "journal.jsonl", folder / "session"
        self._lock = FileLock(folder / "lock", timeout=0)

    def __enter__(self) -> "Journal":
        """Raises JournalInUse, OtherRun, OSError."""
        self._folder.mkdir(exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise JournalInUse(f"another run works on {self._folder}") from None
        try:
            self._check()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._folder.exists() and not self._session.exists():
            self.remove()
        self._lock.release()

    def _check(self) -> None:
        told = self._folder / "asked.json"
        if self._session.exists() and not self._restart:
            if json.loads(told.read_bytes()) != self._asked:
                raise OtherRun(
                    f"{self._folder} is of a run that was asked for something else: pass --restart to begin again"
                )
            return
        self._session.unlink(missing_ok=True)
        self._lines.unlink(missing_ok=True)
        _write(told, json.dumps(self._asked).encode())

    def remove(self) -> None:
        """Remove the folder, once its results are elsewhere."""
        shutil.rmtree(self._folder)

    def resume(self) -> bytes | None:
        """The session's bytes to go on from; None to begin. Lines behind it are dropped."""
        try:
            content = self._session.read_bytes()
        except FileNotFoundError:
            self._lines.unlink(missing_ok=True)
            return None
        length = int.from_bytes(content[:8], "little")
        with self._lines.open("r+b") as file:
            file.truncate(length)
        return content[8:]

    def add(self, lines: Sequence[Line], session: bytes | None = None) -> None:
        """Append frames. session: the tracker's state after them, from which a later run may go on."""
        with self._lines.open("ab") as file:
            for line in lines:
                file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            if session is None:
                return
            file.flush()
            os.fsync(file.fileno())
            length = file.tell()
        _write(self._session, length.to_bytes(8, "little") + session)

    def lines(self) -> Iterator[Line]:
        """All frames so far."""
        with self._lines.open("rb") as file:
            for text in file:
                yield json.loads(text)


def _write(path: Path, content: bytes) -> None:
    """The old content or the new one is there at any moment, also after a power cut."""
    fresh = path.with_suffix(".part")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
