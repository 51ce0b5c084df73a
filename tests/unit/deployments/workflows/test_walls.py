"""The kernel's walls, each tried from inside by code that Python's own walls do not stop."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.workflows.walls import NAMES

ROOT = Path(__file__).resolve().parents[4]
FILES, CALLS, NETWORK = NAMES
PROGRAM = """
import _posixsubprocess, errno, mmap, os, signal, socket, subprocess, sys, threading, time
from pathlib import Path
from deployments.workflows.walls import landlock, network, raise_walls, seccomp
from deployments.workflows.walls.libc import call
scratch, outside = Path("scratch").resolve(), Path("outside").resolve()
connection, _ = socket.socketpair()
parent = os.getppid()
readable = [Path(path) for path in sys.path if path] + [Path("/usr"), Path("/proc/self")]
{wall}
try:
    {action}
except OSError as error:
    print(errno.errorcode[error.errno])
else:
    print("done")
"""
ALONE = {
    FILES: "landlock.restrict(scratch, readable)",
    CALLS: "seccomp.restrict()",
    NETWORK: "network.leave()",
}
ALL = "raise_walls(scratch, readable)"
SPAWN = (
    "_posixsubprocess.fork_exec([b'true'], [b'/bin/true'], True, (), None, None, -1, -1, -1, -1, -1, -1, "
    "*os.pipe(), False, False, -1, None, None, None, -1, None, True)"
)


def ends(wall: str, action: str, folder: Path) -> str:
    """The name of the error that `action` ends with behind a wall, or "done"."""
    (folder / "scratch").mkdir(exist_ok=True)
    (folder / "outside").mkdir(exist_ok=True)
    (folder / "outside" / "secret").write_text("secret")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(wall=wall, action=action)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "SECRET": "secret"},
        check=False,
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[-1] if lines else f"ended by signal {-done.returncode}"


@pytest.fixture(scope="module")
def missing(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The walls that this kernel lacks, as `raise_walls` reports them."""
    told = ends(f"print(*{ALL}, sep=';', end=';')", "pass", tmp_path_factory.mktemp("missing"))
    *names, last = told.split(";")
    assert last == "done", told
    return [name for name in names if name]


@pytest.fixture(params=NAMES)
def wall(request: pytest.FixtureRequest, missing: list[str]) -> str:
    """A wall that this kernel has."""
    if request.param in missing:
        pytest.skip(f"this kernel, or its container, lacks {request.param}")
    return str(request.param)


def need(name: str, missing: list[str]) -> str:
    """The statement that raises one wall alone."""
    if name in missing:
        pytest.skip(f"this kernel, or its container, lacks {name}")
    return ALONE[name]


def test_this_kernel_has_a_wall_at_least(missing: list[str]) -> None:
    assert set(missing) < set(NAMES)


@pytest.mark.parametrize(
    "action",
    [
        "open(outside / 'secret').read()",
        "os.listdir(outside)",
        "os.open('/etc/passwd', os.O_RDONLY)",
        "open(f'/proc/{parent}/environ').read()",
        "open(f'/proc/{parent}/cmdline').read()",
        "os.unlink(outside / 'secret')",
        "os.rename(outside / 'secret', outside / 'taken')",
        "os.rename(outside / 'secret', scratch / 'taken')",
        "os.link(outside / 'secret', scratch / 'taken')",
        "os.truncate(outside / 'secret', 0)",
        "os.mkdir(outside / 'made')",
        "os.symlink('/etc', outside / 'made')",
        "os.mkfifo(outside / 'made')",
        "open(outside / 'made', 'w')",
        "open(outside / 'secret', 'a')",
        "os.symlink(outside, scratch / 'way')",
    ],
)
def test_files_outside_the_scratch_folder_are_out_of_reach(
    action: str, missing: list[str], tmp_path: Path
) -> None:
    assert ends(need(FILES, missing), action, tmp_path) in ("EACCES", "EPERM", "EXDEV")
    assert [file.name for file in (tmp_path / "outside").iterdir()] == ["secret"]
    assert (tmp_path / "outside" / "secret").read_text() == "secret"


def test_files_in_the_scratch_folder_are_made_and_deleted(missing: list[str], tmp_path: Path) -> None:
    action = (
        "path = scratch / 'a'; path.write_text('a'); path.rename(scratch / 'b'); (scratch / 'b').unlink()"
    )
    assert ends(need(FILES, missing), action, tmp_path) == "done"
    assert ends(ALL, action, tmp_path) == "done"


@pytest.mark.parametrize(
    "action",
    [
        SPAWN,
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['true'])",
        "subprocess.run(['/bin/true'])",
        "os.kill(parent, 0)",
        "os.kill(parent, signal.SIGTERM)",
        "os.kill(-1, signal.SIGTERM)",
        "os.killpg(0, signal.SIGTERM)",
        "os.pidfd_open(parent)",
        "os.chmod(scratch, 0o777)",
        "os.utime(outside / 'secret')",
        "os.setpriority(os.PRIO_PROCESS, parent, 19)",
        "__import__('resource').prlimit(parent, __import__('resource').RLIMIT_CPU, (1, 1))",
        "socket.socket()",
        "socket.socket(socket.AF_UNIX)",
        "socket.socketpair()",
        "call(435, 0, 0)",  # clone3: as if the kernel were older than it
    ],
)
def test_processes_signals_and_sockets_are_out_of_reach(
    action: str, missing: list[str], tmp_path: Path
) -> None:
    expected = "ENOSYS" if "435" in action else "EPERM"
    assert ends(need(CALLS, missing), action, tmp_path) == expected


@pytest.mark.parametrize(
    "action",
    [
        "connection.send(b'answer')",
        "thread = threading.Thread(target=time.sleep, args=[0]); thread.start(); thread.join()",
        "os.kill(os.getpid(), 0)",
        "__import__('json.tool')",
        "mmap.mmap(-1, 4096)",
        "os.urandom(8)",
        "open('/proc/self/statm').read()",
    ],
)
def test_a_worker_goes_on_behind_all_walls(action: str, tmp_path: Path) -> None:
    assert ends(ALL, action, tmp_path) == "done"


def test_abort_still_ends_the_process(missing: list[str], tmp_path: Path) -> None:
    assert ends(need(CALLS, missing), "os.abort()", tmp_path) == "ended by signal 6"


@pytest.mark.parametrize(
    "action",
    [
        "socket.create_connection(('127.0.0.1', 9), 1)",
        "socket.create_connection(('192.0.2.1', 80), 1)",
        "socket.create_connection(('::1', 9), 1)",
    ],
)
def test_nobody_is_on_the_network(action: str, missing: list[str], tmp_path: Path) -> None:
    assert ends(need(NETWORK, missing), action, tmp_path) in ("ENETUNREACH", "EADDRNOTAVAIL")


def test_a_wall_does_not_fall(wall: str, tmp_path: Path) -> None:
    """The rights that one process has given up, its threads have lost too."""
    action = {
        FILES: "open(outside / 'secret')",
        CALLS: "socket.socket()",
        NETWORK: "socket.create_connection(('127.0.0.1', 9), 1)",
    }[wall]
    started = f"{ALONE[wall]}\nfrom concurrent.futures import ThreadPoolExecutor"
    assert ends(started, f"ThreadPoolExecutor(1).submit(lambda: {action}).result()", tmp_path) != "done"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_user_without_rights_has_the_walls_too(missing: list[str], tmp_path: Path) -> None:
    lacks = ends(f"os.setuid(65534); print(*{ALL}, sep=';'); sys.exit()", "pass", tmp_path)
    assert {FILES, CALLS} & set(lacks.split(";")) == {FILES, CALLS} & set(missing)
    assert ends(f"os.setuid(65534); {ALL}", "socket.socket()", tmp_path) == "EPERM"


def test_a_kernel_without_walls_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from deployments.workflows import walls

    def refuse(*_: object) -> None:
        raise OSError("no such thing here")

    monkeypatch.setattr(walls.network, "leave", refuse)
    monkeypatch.setattr(walls.landlock, "restrict", refuse)
    monkeypatch.setattr(walls.seccomp, "restrict", refuse)
    before = os.getppid()
    assert set(walls.raise_walls(Path("/nowhere"), [])) == set(NAMES)
    os.kill(before, 0)
