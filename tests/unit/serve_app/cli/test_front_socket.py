"""The socket that outlives HAProxy: with the real one, on the configuration that the installed Serve writes."""

import os
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from harness.listening import accepts
from harness.waiting import wait_until
from serve_app.cli import front_socket
from serve_app.cli.addresses import free_ports, in_use
from serve_app.cli.drain import command, drain
from serve_app.cli.front_socket import NAME, held
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
    """True for a connection that is accepted, or waits in the queue."""
    return accepts(LOOPBACK, port, PATIENCE_S)


def taken_over(path: str) -> socket.socket:
    """The socket that is held, as HAProxy gets it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(path)
        connection.sendall(front_socket.QUESTION)
        return answered(connection)


def answered(connection: socket.socket) -> socket.socket:
    assert connection.recv(4) == front_socket.ONE_SOCKET
    _, (descriptor,), _, _ = socket.recv_fds(connection, 64, 1)
    return socket.socket(fileno=descriptor)


def test_connections_wait_from_the_first_listener_on_until_they_are_refused(port: int, path: str) -> None:
    with held(LOOPBACK, port, path) as refuse:
        refuse()
        assert not connects(port), "nobody has listened yet"
        with taken_over(path) as front:
            front.listen()
        assert connects(port), "although the one that listened has gone"
        refuse()
        assert not connects(port)
    assert not connects(port)
    assert not in_use(LOOPBACK, port)


def test_a_server_may_start_on_the_port_of_one_that_has_just_ended(port: int, path: str) -> None:
    with held(LOOPBACK, port, path), taken_over(path) as front:
        front.listen()
        with socket.create_connection((LOOPBACK, port), PATIENCE_S):
            front.accept()[0].close()  # this end closes first: the kernel keeps the connection for a minute
    with held(LOOPBACK, port, f"{path}-2"), taken_over(f"{path}-2") as front:
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


@pytest.mark.parametrize("said", [b"", b"show info\n", front_socket.QUESTION])
def test_a_program_that_leaves_at_once_does_no_harm(port: int, path: str, said: bytes) -> None:
    with held(LOOPBACK, port, path):
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                connection.sendall(said)
        taken_over(path).close()
    with pytest.raises(OSError):
        taken_over(path)


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
        connection.sendall(front_socket.QUESTION)
        with answered(connection) as front:
            assert front.getsockname() == (LOOPBACK, port)


def test_programs_that_this_process_starts_do_not_have_it(port: int, path: str) -> None:
    with held(LOOPBACK, port, path):
        with taken_over(path) as front:
            front.listen()
        other = subprocess.Popen(["sleep", "60"], close_fds=False)
        try:
            assert sockets_at(port), "this process has it"
            assert not sockets_at(port, other.pid)
        finally:
            other.kill()
            other.wait()


def sockets_at(port: int, pid: int | None = None) -> set[str]:
    """The TCP sockets that are bound to a port and a process has, by their numbers in the kernel."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    bound = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(f":{port:04X}")}
    opened = set()
    for one in Path(f"/proc/{pid or os.getpid()}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            opened.add(str(one.readlink()))
    return bound & opened


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
    """True once the admin socket belongs to this process."""
    try:
        return f"\nPid: {pid}\n" in command(folder / ADMIN_SOCKET, "show info")
    except OSError:
        return False


def status(port: int, host: str = "localhost") -> str:
    """The first line of an answer, once there is one."""
    with socket.create_connection((host, port), PATIENCE_S) as connection:
        connection.sendall(b"GET /info HTTP/1.0\r\n\r\n")
        return connection.recv(100).split(b"\r\n")[0].decode()


STARTING = "HTTP/1.1 503 Service Unavailable"
"""HAProxy knows no application in these tests."""


@pytest.mark.parametrize("host", [LOOPBACK, "localhost", "0.0.0.0", "::1", "::"])
def test_connections_wait_from_one_haproxys_death_to_the_next_ones_start(
    tmp_path: Path, port: int, host: str
) -> None:
    folder = tmp_path / "h"
    reached = "::1" if ":" in host else "localhost"
    with installed(Settings(port=port, host=host), folder), ThreadPoolExecutor(CLIENTS) as threads:
        with haproxy(folder, port):
            assert status(port, reached) == STARTING
        answers = [threads.submit(status, port, reached) for _ in range(CLIENTS)]
        wait_until(lambda: len(waiting(port)) == CLIENTS)
        assert not any(answer.done() for answer in answers)
        with haproxy(folder, port):
            assert [answer.result() for answer in answers] == [STARTING] * CLIENTS


def waiting(port: int) -> list[object]:
    """This process's connections to a port."""
    return [one for one in psutil.Process().net_connections("tcp") if getattr(one.raddr, "port", 0) == port]


def test_a_new_haproxy_takes_over_without_a_refusal(tmp_path: Path, port: int) -> None:
    """The change is the one of each new set of replicas: the old HAProxy ends once the new one has started."""
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


def test_an_old_haproxy_forgets_the_socket_before_it_closes_it(tmp_path: Path, port: int) -> None:
    """The old HAProxy lives on while a connection is open. If it still watched the socket, each new connection would
    wake it up, and it would never sleep again once nobody listens."""
    folder = tmp_path / "h"
    with installed(Settings(port=port), folder), ExitStack() as running:
        old = running.enter_context(haproxy(folder, port))
        client = running.enter_context(socket.create_connection((LOOPBACK, port), PATIENCE_S))
        client.sendall(b"GET /info HTTP/1.1\r\n")  # not all of it
        wait_until(lambda: len(watched(old.pid)) > 0 and len(sockets_at(port, old.pid)) == 2)
        take_over = "-sf", str(old.pid), "-x", str(folder / ADMIN_SOCKET)
        running.enter_context(haproxy(folder, port, *take_over))
        wait_until(lambda: len(sockets_at(port, old.pid)) == 1)
        assert old.poll() is None
        wait_until(lambda: watched(old.pid) <= opened(old.pid))


def opened(pid: int) -> set[int]:
    """The descriptors that a process has open."""
    return {int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir()}


def watched(pid: int) -> set[int]:
    """The descriptors that a process waits for."""
    texts = []
    for one in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            texts.append(one.read_text())
    lines = [line.split() for text in texts for line in text.splitlines() if line.startswith("tfd:")]
    return {int(line[1]) for line in lines}
