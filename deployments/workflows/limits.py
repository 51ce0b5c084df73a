"""What one run may use, and the walls of the process that it runs in."""

import os
import resource
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPEN_FILES = 256
FILE_BYTES = 16 * 2**20
"""Largest file that a worker can write: one block writes a temporary icon."""

_NEVER = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "ctypes.dlopen",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one run."""

    timeout_s: float
    max_model_calls: int
    memory_bytes: int
    """What a worker may allocate beyond the engine itself."""
    max_image_pixels: int


class NotInHere(PermissionError):
    """A block tried what no workflow may: a connection, a program, a file."""


def confine(memory_bytes: int) -> None:
    """Put walls around this process, for good: memory, files, network, programs. For a worker alone."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tempfile.tempdir = scratch = str(
        Path(tempfile.gettempdir()).resolve()
    )  # before the environment is forgotten
    os.environ.clear()

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_NEVER):
            raise NotInHere(f"{event} is not allowed in a workflow")
        if event == "open" and _writes(arguments) and not _within(arguments[0], scratch):
            raise NotInHere("writing files is not allowed in a workflow")

    sys.addaudithook(refuse)


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    return bool(isinstance(flags, int) and flags & _WRITING) or bool(set(mode or "") & set("wax+"))


def _within(path: Any, folder: str) -> bool:
    if isinstance(path, int):
        return True  # a descriptor that is open already
    return Path(os.path.realpath(os.fsdecode(path))).is_relative_to(folder)
