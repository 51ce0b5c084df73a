"""Kills the processes that a server leaves behind, even after a crash: `python -m serve_app.cli.janitor FOLDER`.

Ray's own processes die with the process that started them, but HAProxy, which they start, may live on. So
`sam3-serve up` starts the janitor first, at the other end of a pipe. When the pipe closes, the janitor kills every
process that was started for the run's folder, and removes the folder. It recognises these processes by a variable of
their environment, which all descendants inherit, or else by their open log files: Ray overwrites the environment
with process titles.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

MARK = "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"
"""A variable that names a file in the run's folder (see `ray_environment`)."""
GRACE_S = 5.0
"""Seconds in which a process may end by itself."""
KEEP = "keep\n"
"""The server writes this into the pipe to keep the folder, whose logs explain a failed start."""


@contextmanager
def janitor(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start a janitor for this process, in a session of its own: a Ctrl-C in the terminal does not reach it."""
    command = [sys.executable, "-m", __name__, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True) as process:
        yield process


def keep_folder(process: "subprocess.Popen[str]") -> None:
    """Have the janitor keep the folder."""
    assert process.stdin is not None
    process.stdin.write(KEEP)


def started_for(folder: Path, spare: Collection[int]) -> list[psutil.Process]:
    """The processes of this user that were started for a run's folder. spare: process ids to leave out."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in spare and _uses(process, folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _uses(process: psutil.Process, folder: Path) -> bool:
    paths = [process.environ().get(MARK, "/"), *(file.path for file in process.open_files())]
    return any(Path(path).is_relative_to(folder) for path in paths)


def clean(folder: Path, keep: bool, spare: Collection[int] = ()) -> None:
    """Wait up to GRACE_S for processes that are ending, kill the others, and remove the folder."""
    _, alive = psutil.wait_procs(started_for(folder, spare), timeout=GRACE_S)
    for process in [*alive, *started_for(folder, spare)]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Wait for the end of the pipe, then clean up."""
    folder = Path(sys.argv[1])
    spare = (os.getpid(), os.getppid())  # a server that stops in good order waits for the janitor's end
    said = sys.stdin.read()
    clean(folder, said == KEEP, spare)


if __name__ == "__main__":
    main()
