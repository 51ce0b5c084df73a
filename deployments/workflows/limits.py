"""The limits of one run, and the confinement of the process that it runs in."""

import os
import resource
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.workflows.walls import raise_walls

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
    "os.kill",
    "signal.pthread_kill",
    "ctypes.dlopen",
)
_CHANGING = (
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.setxattr",
    "os.removexattr",
    "os.symlink",
    "os.truncate",
    "os.utime",
)
"""Events whose first arguments are one or two paths."""
_PATHS = {"os.link": 2, "os.rename": 2, "os.symlink": 2}
_SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/fonts",
    "/etc/localtime",
    "/etc/mime.types",
    "/dev/null",
    "/dev/urandom",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/sys/devices/system/cpu",
)
ROOT = Path(__file__).resolve().parents[2]
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


def confine(memory_bytes: int) -> tuple[str, ...]:
    """Confine this process for good: limit memory, refuse files, network and programs. Only a worker may call it.

    Returns the names of the walls that this kernel lacks: see `walls`.
    """
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
    missing = raise_walls(Path(scratch), _readable())

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_NEVER):
            raise NotInHere(f"{event} is not allowed in a workflow")
        if event == "open" and _writes(arguments) and not _within(arguments[0], scratch):
            raise NotInHere("writing files is not allowed in a workflow")
        if event in _CHANGING and not all(
            _within(path, scratch) for path in arguments[: _PATHS.get(event, 1)]
        ):
            raise NotInHere(f"{event} is not allowed in a workflow")

    sys.addaudithook(refuse)
    return missing


def _readable() -> list[Path]:
    """The folders that a worker may read: this program, Python, its packages and the system's libraries.

    They hold nothing that a user wrote, and nothing of other processes.
    """
    packages = [Path(path) for path in sys.path if path and Path(path).resolve() != ROOT]
    own = [ROOT / name for name in ("deployments", "sam3_engine", "serve_app")]
    python = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return [*packages, *own, *python, *map(Path, _SYSTEM)]


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    return bool(isinstance(flags, int) and flags & _WRITING) or bool(set(mode or "") & set("wax+"))


def _within(path: Any, folder: str) -> bool:
    if isinstance(path, int):
        return True  # the descriptor is open already
    return Path(os.path.realpath(os.fsdecode(path))).is_relative_to(folder)
