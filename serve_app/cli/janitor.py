"""Ends what a server has left behind, whatever way it ended: `python -m serve_app.cli.janitor FOLDER`.

Ray's own processes die with the one that started them, but what they started (HAProxy) may live on when
nobody can tell it to stop. So `sam3-serve up` starts this first, at the other end of a pipe. When the pipe
closes, every process that was started for the run's folder is killed, and the folder removed. A process is
known by its environment, which all descendants inherit and nobody else has, or by its log: Ray writes titles
over the environment.
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
"""How long a process may take to end by itself."""
KEEP = "keep\n"
"""What the server writes into the pipe when the folder's logs are still of use."""


@contextmanager
def janitor(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A janitor for this process, which leaves the session so that no terminal's Ctrl-C reaches it."""
    command = [sys.executable, "-m", __name__, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True) as process:
        yield process


def keep_folder(process: "subprocess.Popen[str]") -> None:
    """Tell it to leave the folder where it is."""
    assert process.stdin is not None
    process.stdin.write(KEEP)


def started_for(folder: Path, spare: Collection[int]) -> list[psutil.Process]:
    """The processes of this user that were started for a run's folder. spare: ids to leave out."""
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
    """Wait a little for what is ending, kill the rest, and remove the folder."""
    _, alive = psutil.wait_procs(started_for(folder, spare), timeout=GRACE_S)
    for process in [*alive, *started_for(folder, spare)]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Wait for the end of the pipe, then clean."""
    folder = Path(sys.argv[1])
    spare = (os.getpid(), os.getppid())  # the server waits for this one where it ends in good order
    said = sys.stdin.read()
    clean(folder, said == KEEP, spare)


if __name__ == "__main__":
    main()
