"""The limits of one run, and the confinement of the process that it runs in."""

import os
import resource
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPEN_FILES = 256
FILE_BYTES = 16 * 2**20
"""Largest file that a worker can write; one block needs a temporary icon."""

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
    """The limits of one run."""

    timeout_s: float
    max_model_calls: int
    memory_bytes: int
    """Most memory that a worker may allocate beyond the engine itself."""
    max_image_pixels: int


class NotInHere(PermissionError):
    """A block tried to open a connection, start a program or write a file. No workflow may."""


def confine(memory_bytes: int) -> None:
    """Confine this process for good: limit memory, refuse files, network and programs. Only a worker may call it."""
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
        return True  # the descriptor is open already
    return Path(os.path.realpath(os.fsdecode(path))).is_relative_to(folder)
