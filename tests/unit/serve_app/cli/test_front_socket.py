"""The socket that outlives HAProxy: with the real one, on the configuration that the installed Serve writes."""

import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from harness.waiting import wait_until
from serve_app.cli import front_socket
from serve_app.cli.addresses import free_ports, in_use
from serve_app.cli.drain import drain
from serve_app.cli.front_socket import DESCRIPTOR, NAME, fetched, held, refuse_in
from serve_app.cli.haproxy import LOOPBACK, installed
from serve_app.cli.ray_environment import ADMIN_SOCKET
from serve_app.settings import Settings
from tests.support.haproxy import written_by_serve
from tests.support.patience import PATIENCE_S

CLIENTS = 20


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / NAME)


def connects(port: int) -> bool:
    """Whether a connection is accepted, or waits in the queue."""
    try:
        socket.create_connection((LOOPBACK, port), PATIENCE_S).close()
    except ConnectionRefusedError:
        return False
    return True


def test_connections_wait_from_the_first_listener_on_until_they_are_refused(port: int, path: str) -> None:
    with held(LOOPBACK, port, path):
        assert not connects(port), "nobody has listened yet"
        with fetched(path) as front:
            front.listen()
        assert connects(port), "although the one that listened has gone"
        refuse_in(Path(path).parent)
        assert not connects(port)
        refuse_in(Path(path).parent)
    assert not connects(port)
    assert not in_use(LOOPBACK, port)


def test_there_may_be_none_to_refuse(tmp_path: Path) -> None:
    refuse_in(tmp_path)
    refuse_in(tmp_path / "none")


def test_a_server_may_start_on_the_port_of_one_that_has_just_ended(port: int, path: str) -> None:
    with held(LOOPBACK, port, path), fetched(path) as front:
        front.listen()
        with socket.create_connection((LOOPBACK, port), PATIENCE_S):
            front.accept()[0].close()  # this end closes first: the kernel keeps the connection for a minute
    with held(LOOPBACK, port, f"{path}-2"), fetched(f"{path}-2") as front:
        front.listen()
        assert connects(port)


def test_an_address_that_is_taken_is_an_error(path: str) -> None:
    with (
        socket.create_server((LOOPBACK, 0)) as other,
        pytest.raises(OSError, match="in use"),
        held(LOOPBACK, other.getsockname()[1], path),
    ):
        pass
    assert not Path(path).exists()


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "::1", "::"])
def test_it_is_bound_to_the_host_of_the_settings(port: int, path: str, host: str) -> None:
    with held(host, port, path), fetched(path) as front:
        address, bound = front.getsockname()[:2]
    assert bound == port
    assert address in ("127.0.0.1", "::1") if host == "localhost" else address == host


def test_a_program_that_leaves_at_once_does_no_harm(port: int, path: str) -> None:
    with held(LOOPBACK, port, path):
        for _ in range(50):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
        fetched(path).close()
    with pytest.raises(OSError):
        fetched(path)


def test_it_is_passed_on_again_after_too_many_open_files(port: int, path: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with held(LOOPBACK, port, path), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            connection.connect(path)
            time.sleep(3 * front_socket.PAUSE_S)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        _, (descriptor,), _, _ = socket.recv_fds(connection, 1, 1)
        with socket.socket(fileno=descriptor) as front:
            assert front.getsockname() == (LOOPBACK, port)


def test_the_program_has_it_once_and_what_that_starts_has_it_not(port: int, path: str) -> None:
    """`fetch` runs as in the program; a plain subprocess stands for workers."""
    listed = f"""
import os
opened = [os.path.realpath(f"/proc/self/fd/{{one}}") for one in os.listdir("/proc/self/fd")]
wanted = os.path.realpath("/proc/self/fd/{DESCRIPTOR}")
print(opened.count(wanted) if "socket" in wanted else 0)
"""
    with held(LOOPBACK, port, path), fetched(path):
        fetching = [sys.executable, "-IS", front_socket.__file__, path]
        counts = [
            subprocess.run(
                [*start, sys.executable, "-IS", "-c", listed], capture_output=True, text=True, check=True
            )
            for start in (fetching, [])
        ]
        assert [done.stdout.strip() for done in counts] == ["1", "0"]
        with subprocess.Popen(["sleep", "60"], close_fds=False) as other:
            try:
                assert not [
                    one for one in psutil.Process(other.pid).net_connections() if one.laddr.port == port
                ]
            finally:
                other.kill()


@contextmanager
def haproxy(folder: Path, port: int, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    """HAProxy as Serve starts it, without an application, once its admin socket is answered by it. It is killed at the
    end."""
    config = written_by_serve(folder, port, [])
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([folder / "haproxy", "-db", "-f", config, "-dR", *arguments], stderr=log) as process,
    ):
        try:
            wait_until(lambda: answers_as(folder, process.pid), problem=(folder / "log").read_text)
            yield process
        finally:
            process.kill()


def answers_as(folder: Path, pid: int) -> bool:
    """Whether the admin socket belongs to a process by now."""
    from serve_app.cli.drain import command

    try:
        return f"\nPid: {pid}\n" in command(folder / ADMIN_SOCKET, "show info")
    except OSError:
        return False


def status(port: int) -> str:
    """The first line of an answer, once there is one."""
    with socket.create_connection((LOOPBACK, port), PATIENCE_S) as connection:
        connection.sendall(b"GET /info HTTP/1.0\r\n\r\n")
        return connection.recv(100).split(b"\r\n")[0].decode()


STARTING = "HTTP/1.1 503 Service Unavailable"
"""HAProxy knows no application in these tests."""


def test_connections_wait_from_one_haproxys_death_to_the_next_ones_start(tmp_path: Path, port: int) -> None:
    folder = tmp_path / "h"
    with installed(Settings(port=port), folder), ThreadPoolExecutor(CLIENTS) as threads:
        with haproxy(folder, port):
            assert status(port) == STARTING
        answers = [threads.submit(status, port) for _ in range(CLIENTS)]
        wait_until(lambda: len(psutil.Process().net_connections()) > CLIENTS)
        assert not any(answer.done() for answer in answers)
        with haproxy(folder, port):
            assert [answer.result() for answer in answers] == [STARTING] * CLIENTS


def test_a_new_haproxy_takes_over_without_a_refusal(tmp_path: Path, port: int) -> None:
    """As at each change of replicas: the old one ends once the new one has started."""
    folder = tmp_path / "h"
    with installed(Settings(port=port), folder), ExitStack() as running:
        old = running.enter_context(haproxy(folder, port))
        stop = threading.Event()

        def ask() -> list[str]:
            return [status(port) for _ in iter(stop.is_set, True)]

        with ThreadPoolExecutor(4) as threads:
            clients = [threads.submit(ask) for _ in range(4)]
            try:
                for _ in range(3):
                    take_over = "-sf", str(old.pid), "-x", str(folder / ADMIN_SOCKET)
                    new = running.enter_context(haproxy(folder, port, *take_over))
                    old.wait(PATIENCE_S)
                    old = new
            finally:
                stop.set()
            assert {answer for client in clients for answer in client.result()} == {STARTING}


def test_once_it_is_drained_connections_are_refused(tmp_path: Path, port: int) -> None:
    folder = tmp_path / "h"
    with installed(Settings(port=port), folder), haproxy(folder, port):
        assert connects(port)
        assert drain(folder, PATIENCE_S)
        assert not connects(port)


def test_a_dead_haproxy_does_not_keep_a_drained_socket_open(tmp_path: Path, port: int) -> None:
    folder = tmp_path / "h"
    with installed(Settings(port=port), folder):
        with haproxy(folder, port):
            pass
        assert connects(port)
        assert drain(folder, PATIENCE_S)
        assert not connects(port)
