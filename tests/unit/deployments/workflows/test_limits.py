"""The walls around a worker, tried from inside."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = """
import os, socket, subprocess, tempfile, ctypes
import numpy, cv2
from deployments.workflows.limits import confine
confine(512 * 2**20)
{action}
print("done")
"""


def inside(action: str, folder: Path) -> str:
    """The end of a program that does `action` behind the walls: "done", or its last line."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(action=action)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(folder),
            "HF_TOKEN": "secret",
            "OPENBLAS_NUM_THREADS": "1",
        },
        check=False,
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[-1] if lines else f"ended by signal {-done.returncode}"


@pytest.mark.parametrize(
    "action",
    [
        "socket.create_connection(('127.0.0.1', 9001), 1)",
        "socket.socket()",
        "socket.getaddrinfo('localhost', 80)",
        "subprocess.run(['true'])",
        "os.system('true')",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.fork()",
        "ctypes.CDLL('libc.so.6')",
        "open('/tmp/../tmp/escaped', 'w')",
        "open(os.path.expanduser('~/escaped'), 'ab')",
        "os.open('/tmp/escaped', os.O_CREAT | os.O_WRONLY)",
        "os.symlink('/etc', 'here'); open('here/escaped', 'w')",
        "os.rename(numpy.__file__, 'taken')",
        "os.remove(numpy.__file__)",
        "os.chmod('/tmp', 0o777)",
        "os.kill(os.getppid(), 15)",
    ],
)
def test_network_programs_and_files_are_out_of_reach(action: str, tmp_path: Path) -> None:
    assert "NotInHere" in inside(action, tmp_path)


def test_a_temporary_file_may_be_written_up_to_a_size(tmp_path: Path) -> None:
    writing = "file = tempfile.NamedTemporaryFile(delete=False); file.write(bytes({size})); file.close()"
    assert inside(writing.format(size=10**6), tmp_path) == "done"
    assert "File too large" in inside(writing.format(size=10**8), tmp_path)


def test_memory_is_limited(tmp_path: Path) -> None:
    assert inside("numpy.ones(10**8, dtype=numpy.uint8)", tmp_path) == "done"
    assert "Unable to allocate" in inside("numpy.ones(10**9, dtype=numpy.uint8)", tmp_path)
    resize = "cv2.resize(numpy.zeros((8, 8), numpy.uint8), (60000, 60000))"
    assert "Insufficient memory" in inside(resize, tmp_path)


def test_the_environment_is_empty(tmp_path: Path) -> None:
    assert inside("assert not os.environ, os.environ", tmp_path) == "done"
    assert inside("assert os.getenv('HF_TOKEN') is None", tmp_path) == "done"


def test_reading_and_computing_go_on(tmp_path: Path) -> None:
    computing = (
        "import colorsys; open(cv2.__file__).read(); cv2.blur(numpy.zeros((64, 64), numpy.uint8), (3, 3))"
    )
    assert inside(computing, tmp_path) == "done"
